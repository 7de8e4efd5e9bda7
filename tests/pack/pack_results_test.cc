#include "pack/pack_results.h"

#include <gtest/gtest.h>

#include "image/jpeg_samples.h"
#include "support/images.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;

ShardResult result(size_t split, uint64_t shard, std::vector<RefusedImage> refused) {
  return {split, shard, {10 * shard, {uint64_t{1} << 40, 7}, {5, 0xffffffff}, std::move(refused)}};
}

TEST(PackResults, SurviveAsTextWithAnyNames) {
  const std::vector<RefusedImage> odd = {{3, 4, " leading\tand\nnew\\line ", "reason\twith tab"}, {4, 0, "\\", ""}};
  const std::vector<std::string> texts = {text_of({result(1, 0, {}), result(0, 2, odd)}), "",
                                          text_of({result(0, 1, {})})};
  const auto all = results_from(texts);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].shard, 1u);
  EXPECT_EQ(all[1].shard, 2u);
  EXPECT_EQ(all[2].list, 1u);
  EXPECT_EQ(all[1].packed.records, 20u);
  EXPECT_EQ(all[1].packed.rec.bytes, uint64_t{1} << 40);
  EXPECT_EQ(all[1].packed.idx.crc32c, 0xffffffff);
  ASSERT_EQ(all[1].packed.refused.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(all[1].packed.refused[i].id, odd[i].id);
    EXPECT_EQ(all[1].packed.refused[i].label, odd[i].label);
    EXPECT_EQ(all[1].packed.refused[i].name, odd[i].name);
    EXPECT_EQ(all[1].packed.refused[i].reason, odd[i].reason);
  }
}

TEST(PackResults, QuarantineHasOneLinePerImage) {
  const TempDir folder;
  const FileEntry entry = write_quarantine(
      {"train", "validation"}, {result(0, 0, {{3, 4, "a\tb.jpg", "cut short"}}), result(1, 0, {{0, 1, "c", "d"}})},
      folder / "quarantine.tsv");
  EXPECT_EQ(read_text(entry.path), "train\t3\t4\ta\\tb.jpg\tcut short\nvalidation\t0\t1\tc\td\n");
  EXPECT_EQ(entry.records, 2u);
  EXPECT_EQ(entry.crc32c, file_facts(entry.path).crc32c);
}

TEST(PackResults, AFewBrokenImagesAreAllowedInASmallSet) {
  EXPECT_EQ(broken_allowed(14'197'087, 0.001), 14'197u);
  EXPECT_EQ(broken_allowed(1'000'000, 0.001), 1'000u);
  EXPECT_EQ(broken_allowed(5'000, 0.001), kFewBroken) << "the fraction alone would allow 5";
  EXPECT_EQ(broken_allowed(40, 0.001), 4u) << "at most a tenth";
  EXPECT_EQ(broken_allowed(9, 0.001), 0u);
  EXPECT_EQ(broken_allowed(40, 0.5), 20u) << "a higher limit of the user counts";
  EXPECT_EQ(broken_allowed(1'000'000, 0), 0u) << "a limit of 0 allows none";
}

TEST(PackResults, AProbeCountsImagesAndBytes) {
  const TempDir folder;
  const auto bytes = make_jpeg({});
  std::vector<ImageEntry> images(3);
  for (size_t i = 0; i < 3; ++i) {
    images[i].path = std::to_string(i) + ".jpg";
    if (i > 0) test::write_bytes(folder / images[i].path, bytes);  // one is missing
  }
  const Probe probe = probe_packing(images, ImageReader(folder.path()), {});
  EXPECT_EQ(probe.images, 3);
  EXPECT_EQ(probe.bytes, 2.0 * static_cast<double>(bytes.size()));
  EXPECT_EQ(probe_packing({}, ImageReader(folder.path()), {}).images, 0);
}

}  // namespace
}  // namespace packhorse
