#include "infer/image_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <tuple>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "demo/tar_writer.h"
#include "feed/feed.h"
#include "image/image_kinds.h"
#include "image/png_samples.h"
#include "image/webp_samples.h"
#include "support/images.h"
#include "support/shards.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

/// A pipe through which a thread writes a text.
class Piped {
 public:
  explicit Piped(const std::string& text) {
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) throw_errno("cannot make", "a pipe");
    out_ = Descriptor(ends[0]);
    writer_ = std::jthread([in = ends[1], text] {
      const Descriptor end(in);
      for (size_t done = 0; done < text.size();) {
        const ssize_t put = ::write(in, text.data() + done, text.size() - done);
        if (put < 0) return;
        done += static_cast<size_t>(put);
      }
    });
  }
  int fd() const { return out_.get(); }

 private:
  std::jthread writer_;
  Descriptor out_;  // closed before the writer is waited for, who may have more to write
};

std::string tar(const std::vector<std::pair<std::string, std::string>>& members) {
  std::vector<std::byte> bytes;
  TarWriter writer(bytes);
  for (const auto& [name, content] : members) writer.add(name, std::as_bytes(std::span(content)));
  writer.finish();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> names_of(const GivenImages& given) {
  std::vector<std::string> names;
  for (const GivenImage& image : given.images()) names.push_back(image.name);
  return names;
}

std::string read(const GivenImages& given, size_t i) {
  std::vector<std::byte> bytes;
  given.read(given.images()[i], bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ImageFiles : public testing::Test {
 protected:
  static constexpr size_t kImage = size_t{24} * 24 * 3;
  static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }
  void write(const std::string& name, uint64_t id, int width, int height) {
    make_folder((folder_ / name).parent_path());
    const auto bytes = encode_jpeg(made_image(id, static_cast<uint32_t>(id % 4), width, height), 95);
    OutputFile file(folder_ / name);
    file.write(bytes);
    file.commit();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  /// A line for everything skipped, with paths that count from this test's folder.
  std::string skipped_in(const GivenImages& given) const {
    std::string lines;
    for (const SkippedEntry& entry : given.skipped()) {
      const std::string home = folder_.path().string() + "/";
      const size_t cut = entry.path.starts_with(home) ? home.size() : 0;
      lines += std::string(word_of(entry.reason)) + " " + entry.path.substr(cut) + "\n";
    }
    return lines;
  }
  /// The size of the first image as it is read, or its problem.
  std::string prepared_size(const GivenImages& given) const {
    std::vector<uint8_t> pixels(kImage);
    const auto prepared = prepare_images(given, std::span(given.images()).first(1), options_, 1, pixels).front();
    if (!prepared.problem.empty()) return prepared.problem;
    return std::to_string(prepared.width) + " x " + std::to_string(prepared.height);
  }

  TempDir folder_;
  AugmentOptions options_{.size = 24, .resize = 24};
};

TEST_F(ImageFiles, FindsFilesAndTheImagesInFolders) {
  write("in/b.JPG", 1, 30, 30);
  write("in/deep/a.jpeg", 2, 30, 30);
  write("in/without extension", 3, 30, 30);
  write("in/.hidden.jpg", 4, 30, 30);
  write("in/e.jfif", 5, 30, 30);
  write_text(folder_ / "in/note.txt", "x");
  write_text(folder_ / "in/c.png", "x");
  std::filesystem::create_symlink("gone.jpg", folder_ / "in/d.jpg");
  const GivenImages given({path("other.bin"), path("in")});
  EXPECT_EQ(names_of(given),
            (std::vector<std::string>{path("other.bin"), path("in/b.JPG"), path("in/c.png"), path("in/deep/a.jpeg"),
                                      path("in/e.jfif"), path("in/without extension")}));
  EXPECT_EQ(skipped_in(given), "hidden in/.hidden.jpg\ndangling link in/d.jpg\nnot an image in/note.txt\n");
  make_folder(folder_ / "empty");
  EXPECT_THROW(GivenImages({path("empty")}), Error);
}

TEST_F(ImageFiles, TakesTheImagesOfATar) {
  write("a.jpg", 1, 30, 20);
  const std::string jpeg = read_text(folder_ / "a.jpg");
  write_text(folder_ / "in.tar", tar({{"n1/a.jpg", jpeg}, {"n1/note.txt", "x"}, {"n2.tar", "x"}}));
  fs::copy_file(folder_ / "in.tar", folder_ / "no extension");
  for (const std::string name : {"in.tar", "no extension"}) {
    const GivenImages given({path(name)});
    EXPECT_EQ(names_of(given), std::vector<std::string>{path(name + "/n1/a.jpg")});
    std::string skipped = "not an image ";
    skipped.append(name).append("/n1/note.txt\ntar ").append(name).append("/n2.tar\n");
    EXPECT_EQ(skipped_in(given), skipped);
    EXPECT_EQ(read(given, 0), jpeg);
  }
  EXPECT_EQ(prepared_size(GivenImages({path("in.tar")})), "30 x 20");
}

TEST_F(ImageFiles, SaysWhyANamedFileIsNotOpened) {
  std::filesystem::create_symlink("gone.jpg", folder_ / "to-nothing.jpg");
  std::filesystem::create_symlink("circle.jpg", folder_ / "circle.jpg");
  ASSERT_EQ(mkfifo(path("pipe.jpg").c_str(), 0600), 0);
  const GivenImages given({path("to-nothing.jpg"), path("circle.jpg"), path("pipe.jpg"), path("missing.jpg")});
  std::vector<uint8_t> pixels(4 * kImage, 1);
  const auto prepared = prepare_images(given, given.images(), options_, 2, pixels);
  EXPECT_EQ(prepared[0].problem, "a link to 'gone.jpg', where nothing is");
  EXPECT_EQ(prepared[1].problem, "a link to 'circle.jpg', which cannot be followed");
  EXPECT_NE(prepared[2].problem.find("a pipe"), std::string::npos) << prepared[2].problem;
  EXPECT_NE(prepared[3].problem.find("No such file"), std::string::npos) << prepared[3].problem;
  EXPECT_EQ(std::count(pixels.begin(), pixels.end(), 0), static_cast<int64_t>(pixels.size()));
}

TEST_F(ImageFiles, ReadsStandardInput) {
  write("a.jpg", 1, 30, 20);
  write("in/b.jpg", 2, 20, 30);
  const std::string jpeg = read_text(folder_ / "a.jpg");
  // A tar; larger than a pipe holds, so it arrives in parts.
  const std::string large = jpeg + std::string(300000, 'x');
  const std::string archive = tar({{"n1/a.jpg", large}, {"README", "x"}});
  {
    const Piped input(archive);
    const GivenImages given({path("in"), "-"}, input.fd());
    EXPECT_EQ(names_of(given), (std::vector<std::string>{path("in/b.jpg"), "-/n1/a.jpg"}));
    EXPECT_EQ(skipped_in(given), "not an image -/README\n");
    EXPECT_EQ(read(given, 1), large);
  }
  {  // names: one of a folder, one of a tar, one with spaces, one that is missing
    write_text(folder_ / "in.tar", tar({{"c.jpg", jpeg}}));
    write(" with spaces.jpg", 3, 30, 30);
    const std::string text = "\xef\xbb\xbf" + path("a.jpg") + "\r\n\n" + path("in") + "\n" + path("in.tar") + "\n" +
                             path(" with spaces.jpg") + "\n" + path("missing.jpg");
    const Piped input(text);
    const GivenImages given({"-"}, input.fd());
    EXPECT_EQ(names_of(given), (std::vector<std::string>{path("a.jpg"), path("in/b.jpg"), path("in.tar/c.jpg"),
                                                         path(" with spaces.jpg"), path("missing.jpg")}));
  }
  {
    const Piped input(jpeg);
    const GivenImages given({"-"}, input.fd());
    EXPECT_EQ(names_of(given), std::vector<std::string>{"-"});
    EXPECT_EQ(prepared_size(given), "30 x 20");
  }
}

TEST_F(ImageFiles, ReadsAFileAsStandardInputFromWhereItIs) {
  write("a.jpg", 1, 30, 20);
  write_text(folder_ / "in.tar", tar({{"a.jpg", read_text(folder_ / "a.jpg")}}));
  write_text(folder_ / "names.txt", "first line\n" + path("a.jpg") + "\n");
  for (const auto& [name, skip, want] :
       {std::tuple{"in.tar", 0, std::string("-/a.jpg")}, std::tuple{"names.txt", 11, path("a.jpg")}}) {
    const Descriptor file(open(path(name).c_str(), O_RDONLY));
    ASSERT_EQ(lseek(file.get(), skip, SEEK_SET), skip);
    const GivenImages given({"-"}, file.get());
    EXPECT_EQ(names_of(given), std::vector<std::string>{want});
    EXPECT_EQ(prepared_size(given), "30 x 20");
  }
}

TEST_F(ImageFiles, RefusesAStandardInputThatIsNothingOfThese) {
  const auto refusal = [](const std::string& text, const std::vector<std::string>& named = {"-"}) -> std::string {
    const Piped input(text);
    try {
      const GivenImages given(named, input.fd());
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  const auto expect = [&](const std::string& text, const std::string& words) {
    EXPECT_NE(refusal(text).find(words), std::string::npos) << refusal(text);
  };
  expect("", "standard input is empty");
  expect("\n\r\n", "standard input names no file");
  expect("\x1f\x8b\x08 and so on", "compressed with gzip");
  expect(std::string("\x7f\x45LF\0\0", 6), "neither a tar, nor an image, nor a list of names");
  expect(tar({{"a.jpg", "x"}}).substr(0, 700), "standard input\n  try: copy or download it again");
  expect(tar({{"README", "x"}}), "not an image: 1: standard input");
  EXPECT_NE(refusal("x", {"-", "-"}).find("twice"), std::string::npos);
}

TEST_F(ImageFiles, ABadFileGivesZerosAndDoesNotAffectOthers) {
  std::vector<std::string> paths;
  for (int i = 0; i < 20; ++i) {
    write(std::to_string(i) + ".jpg", static_cast<uint64_t>(i), 24 + i, 40);
    paths.emplace_back(path(std::to_string(i) + ".jpg"));
  }
  write_text(paths[7], read_text(paths[7]).substr(0, 200));
  paths[11] = path("missing.jpg");
  std::vector<uint8_t> one(20 * kImage, 1), four(20 * kImage, 2);
  const GivenImages given(paths);
  const auto prepared = prepare_images(given, given.images(), options_, 1, one);
  prepare_images(given, given.images(), options_, 4, four);
  EXPECT_EQ(one, four);
  for (size_t i = 0; i < 20; ++i) {
    const bool bad = i == 7 || i == 11;
    EXPECT_EQ(prepared[i].problem.empty(), !bad) << i;
    const auto begin = one.begin() + static_cast<ptrdiff_t>(i * kImage);
    EXPECT_EQ(std::all_of(begin, begin + kImage, [](uint8_t v) { return v == 0; }), bad) << i;
    if (bad) continue;
    EXPECT_EQ(prepared[i].width, 24 + static_cast<int>(i));
    EXPECT_EQ(prepared[i].height, 40);
  }
}

/// What an evaluation's feed makes of an image.
std::vector<uint8_t> evaluated(const TempDir& folder, std::span<const std::byte> image, const AugmentOptions& options) {
  const ShardPath path{folder / "one.rec", folder / "one.idx"};
  ShardWriter writer(path.rec, path.idx);
  writer.append(0, 0, image);
  writer.commit();
  const ShardReader shards({path});
  FeedOptions feed;
  feed.plan = {1, 1, 1, 0};
  feed.augment = options;
  feed.training = false;
  feed.classes = 1;
  Feed reader(shards, feed);
  const Batch* batch = reader.next();
  return {batch->pixels.begin(), batch->pixels.end()};
}

TEST_F(ImageFiles, TheSamePixelsAreTheSameInputInEveryContainerAndStage) {
  options_ = {.size = 36, .resize = 36};
  for (const ImageKind kind : kImageKinds) {
    // Short edges of up to eight times the input, which a JPEG codec could decode at a reduced size.
    for (const int edge : {30, 36, 72, 100, 144, 300}) {
      const std::vector<std::byte> jpeg = encode_jpeg(image_of(kind, edge + edge / 3, edge), 90);
      DecodedImage whole;
      decode_jpeg(jpeg, whole);
      write_bytes(folder_ / "one.jpg", jpeg);
      // Lossless: the JPEG's pixels.
      write_bytes(folder_ / "one.png", make_png(whole));
      write_bytes(folder_ / "one.webp", make_webp(whole.width, whole.height, 3, whole.pixels));
      const std::vector<std::string> names = {"one.jpg", "one.png", "one.webp"};
      std::vector<uint8_t> pixels(names.size() * 36 * 36 * 3);
      const GivenImages given({path(names[0]), path(names[1]), path(names[2])});
      prepare_images(given, given.images(), options_, 1, pixels);
      const std::vector<uint8_t> expected = evaluated(folder_, jpeg, options_);
      for (size_t i = 0; i < names.size(); ++i)
        EXPECT_TRUE(std::ranges::equal(std::span(pixels).subspan(i * expected.size(), expected.size()), expected))
            << names[i] << ", " << name_of(kind) << edge;
    }
  }
}

}  // namespace
}  // namespace packhorse::test
