#include "pack/pack_shard.h"

#include <sys/resource.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "image/decode.h"
#include "image/image_kinds.h"
#include "image/jpeg_samples.h"
#include "image/png_samples.h"
#include "image/webp_samples.h"
#include "record/recordio.h"
#include "support/images.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::write_bytes;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

ImageEntry entry(uint64_t id, const std::string& path) {
  ImageEntry image;
  image.id = id;
  image.label = static_cast<uint32_t>(id % 5);
  image.path = path;
  return image;
}

PackedShard pack(const TempDir& folder, const std::vector<ImageEntry>& images, const Preparation& preparation,
                 int threads, const std::string& name) {
  const ImageReader reader(folder.path());
  Progress progress("", "", 0, true);
  const ShardJob job{images, &reader, {folder / (name + ".rec"), folder / (name + ".idx")}};
  return pack_shards({job}, preparation, threads, progress).front();
}

TEST(PackShard, PassThroughKeepsEachImagesBytes) {
  const TempDir folder;
  std::vector<ImageEntry> images;
  std::vector<Bytes> want;
  for (uint64_t id = 0; id < 40; ++id) {
    want.push_back(make_jpeg({.width = 20 + static_cast<int>(id), .height = 30, .progressive = id % 2 == 0}));
    images.push_back(entry(id, std::to_string(id) + ".jpg"));
    write_bytes(folder / images.back().path, want.back());
  }
  const PackedShard packed = pack(folder, images, {}, 3, "a");
  EXPECT_EQ(packed.records, 40u);
  EXPECT_TRUE(packed.refused.empty());
  const ShardReader reader({{folder / "a.rec", folder / "a.idx"}});
  Bytes buffer;
  for (uint64_t i = 0; i < 40; ++i) {
    const Record record = reader.read(i, buffer);
    EXPECT_EQ(record.id, i);
    EXPECT_EQ(record.label, i % 5);
    EXPECT_EQ(Bytes(record.image.begin(), record.image.end()), want[i]);
  }
}

TEST(PackShard, SameBytesForAnyNumberOfThreads) {
  const TempDir folder;
  std::vector<ImageEntry> images;
  for (uint64_t id = 0; id < 60; ++id) {
    images.push_back(entry(id, std::to_string(id) + ".jpg"));
    write_bytes(folder / images.back().path,
                make_jpeg({.width = 50 + static_cast<int>(id), .height = 60, .noisy = true}));
  }
  const Preparation shrink{.short_edge = 24};
  const PackedShard one = pack(folder, images, shrink, 1, "one");
  for (const int threads : {2, 3, 8}) {
    const PackedShard other = pack(folder, images, shrink, threads, "other");
    EXPECT_EQ(read_text(folder / "other.rec"), read_text(folder / "one.rec"));
    EXPECT_EQ(other.rec.crc32c, one.rec.crc32c);
    EXPECT_EQ(other.idx.crc32c, one.idx.crc32c);
  }
  EXPECT_EQ(file_facts(folder / "one.rec").crc32c, one.rec.crc32c);
}

TEST(PackShard, ConsecutiveShardsHoldEachImageOnce) {
  const TempDir folder;
  std::vector<ImageEntry> images;
  for (uint64_t id = 0; id < 30; ++id) {
    images.push_back(entry(id, std::to_string(id) + ".jpg"));
    write_bytes(folder / images.back().path, make_jpeg({.width = 20 + static_cast<int>(id), .height = 30}));
  }
  const ImageReader reader(folder.path());
  std::vector<ShardJob> jobs;
  std::vector<ShardPath> paths;
  for (size_t i = 0; i < 6; ++i) {
    paths.push_back({folder / (std::to_string(i) + ".rec"), folder / (std::to_string(i) + ".idx")});
    jobs.push_back({std::span(images).subspan(5 * i, 5), &reader, paths.back()});
  }
  Progress progress("", "", 0, true);
  const auto packed = pack_shards(jobs, {}, 2, progress);
  ASSERT_EQ(packed.size(), 6u);
  EXPECT_EQ(progress.done(), 30u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(file_facts(paths[i].rec).crc32c, packed[i].rec.crc32c);
  const ShardReader shards(paths);
  Bytes buffer;
  ASSERT_EQ(shards.records(), 30u);
  for (uint64_t i = 0; i < 30; ++i) EXPECT_EQ(shards.read(i, buffer).id, i);
}

TEST(PackShard, AFullDiskAtTheLastFlushIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full here";
  const TempDir folder;
  write_bytes(folder / "a.jpg", make_jpeg({}));
  fs::create_symlink("/dev/full", folder / "a.rec.part");  // small: nothing is written before the end
  EXPECT_THROW(pack(folder, {entry(0, "a.jpg")}, {}, 1, "a"), Error);
}

TEST(PackShard, BrokenImagesAreReportedWithTheirReason) {
  const TempDir folder;
  const Bytes good = make_jpeg({.width = 80, .height = 60, .noisy = true});
  const std::vector<std::pair<Bytes, std::string>> cases = {
      {good, ""},
      {Bytes(good.begin(), good.begin() + 400), "not a sound JPEG"},
      {bytes_of("GIF89a and more"), "GIF"},
      {bytes_of("<html>no longer available</html>"), "HTML"},
      {{}, "empty"},
      {good, ""}};
  std::vector<ImageEntry> images;
  for (size_t i = 0; i < cases.size(); ++i) {
    images.push_back(entry(10 + i, std::to_string(i) + ".jpg"));
    write_bytes(folder / images.back().path, cases[i].first);
  }
  images.push_back(entry(16, "missing.jpg"));
  for (const int edge : {0, 32}) {
    const PackedShard packed = pack(folder, images, {.short_edge = edge}, 2, "a");
    EXPECT_EQ(packed.records, 2u);
    ASSERT_EQ(packed.refused.size(), 5u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(packed.refused[i].id, 11 + i);
      EXPECT_EQ(packed.refused[i].name, std::to_string(i + 1) + ".jpg");
      EXPECT_NE(packed.refused[i].reason.find(cases[i + 1].second), std::string::npos) << packed.refused[i].reason;
    }
    EXPECT_NE(packed.refused[4].reason.find("No such file"), std::string::npos);
  }
}

TEST(PackShard, AMissingArchiveEndsTheRun) {
  const TempDir folder;
  ImageEntry image = entry(0, "gone.tar");
  image.member = "a.jpg";
  image.bytes = 10;
  EXPECT_THROW(pack(folder, {image}, {}, 2, "a"), ArchiveError);
  EXPECT_FALSE(fs::exists(folder / "a.rec"));
  EXPECT_FALSE(fs::exists(folder / "a.rec.part"));
}

TEST(Prepare, LargerImagesShrinkAndSmallerOnesKeepTheirBytes) {
  const Bytes large = make_jpeg({.width = 300, .height = 200}), small = make_jpeg({.width = 60, .height = 40});
  Bytes bytes = large;
  prepare_image(bytes, {.short_edge = 50});
  EXPECT_EQ(read_jpeg_info(bytes).width, 75);
  EXPECT_EQ(read_jpeg_info(bytes).height, 50);
  bytes = small;
  prepare_image(bytes, {.short_edge = 50});
  EXPECT_EQ(bytes, small);
  bytes = make_jpeg({.width = 90, .height = 60, .kind = JpegKind::cmyk});
  prepare_image(bytes, {.short_edge = 30});
  EXPECT_EQ(read_jpeg_info(bytes).components, 3);
}

// Too many open files, as the system says it.
TEST(PackShard, AnErrorOfTheMachineIsNoBrokenImage) {
  const TempDir folder;
  std::vector<ImageEntry> images;
  for (uint64_t id = 0; id < 20; ++id) {
    images.push_back(entry(id, std::to_string(id) + ".jpg"));
    write_bytes(folder / images.back().path, make_jpeg({}));
  }
  const ImageReader reader(folder.path());
  Progress progress("", "", 0, true);
  const ShardJob job{images, &reader, {folder / "a.rec", folder / "a.idx"}};
  // As many files as there are, and the shard's two.
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const int next = dup(STDIN_FILENO);
  close(next);
  const rlimit few{static_cast<rlim_t>(next) + 2, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &few);
  try {
    pack_shards({job}, {}, 1, progress);
    setrlimit(RLIMIT_NOFILE, &before);
    ADD_FAILURE() << "nothing was said";
  } catch (const SystemError& error) {
    setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_NE(error.text().what.find("Too many open files"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(folder / "a.rec"));
}

TEST(Prepare, TheSamePixelsShrinkToTheSameBytesInEveryContainer) {
  for (const ImageKind kind : kImageKinds) {
    const Bytes jpeg = encode_jpeg(image_of(kind, 400, 300), 90);
    DecodedImage whole;
    decode_jpeg(jpeg, whole);
    for (const int edge : {299, 150, 75, 40}) {
      // Lossless: the JPEG's pixels.
      Bytes of_jpeg = jpeg, of_png = make_png(whole), of_webp = make_webp(whole.width, whole.height, 3, whole.pixels);
      for (Bytes* bytes : {&of_jpeg, &of_png, &of_webp}) prepare_image(*bytes, {.short_edge = edge});
      EXPECT_TRUE(of_jpeg == of_png) << name_of(kind) << " to " << edge;
      EXPECT_TRUE(of_jpeg == of_webp) << name_of(kind) << " to " << edge;
    }
  }
}

TEST(Prepare, AShrunkImageLooksLikeItsSource) {
  Bytes bytes = make_jpeg({.width = 400, .height = 300, .quality = 95});
  for (const int edge : {299, 200, 151, 150, 75, 40}) {
    Bytes small = bytes;
    prepare_image(small, {.short_edge = edge});
    DecodedImage image;
    decode_image(small, image);
    const DecodedImage want = smooth_image(image.width, image.height);
    double sum = 0;
    for (size_t i = 0; i < want.pixels.size(); ++i) sum += std::abs(int{want.pixels[i]} - int{image.pixels[i]});
    EXPECT_LT(sum / static_cast<double>(want.pixels.size()), 4) << edge;
  }
}

TEST(Prepare, TheHeaderCheckMissesDamageInTheMiddle) {
  const Bytes good = make_jpeg({.width = 80, .height = 60, .noisy = true});
  Bytes truncated(good.begin(), good.begin() + static_cast<ptrdiff_t>(good.size() / 2));
  EXPECT_THROW(prepare_image(truncated, {.decode_check = false}), DamageError);
  Bytes holed = good;
  std::fill(holed.begin() + static_cast<ptrdiff_t>(good.size() / 2), holed.end() - 300, std::byte{0xff});
  Bytes copy = holed;
  EXPECT_THROW(prepare_image(copy, {}), DamageError);
  EXPECT_NO_THROW(prepare_image(holed, {.decode_check = false}));
}

}  // namespace
}  // namespace packhorse
