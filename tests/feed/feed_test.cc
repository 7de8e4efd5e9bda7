#include "feed/feed.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/shards.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;
using test::write_shards;

FeedOptions options_for(uint64_t records, uint64_t batch, int ranks = 1, int rank = 0) {
  FeedOptions options;
  options.plan = {records, batch, ranks, rank};
  options.shuffle = {5, 4, 3};
  options.augment.size = 16;
  options.augment.resize = 18;
  options.augment.seed = 5;
  options.classes = 4;
  return options;
}

/// What a step got of an image.
struct Seen {
  int32_t label;
  std::vector<uint8_t> pixels;
  bool operator==(const Seen&) const = default;
};
/// For each (epoch, step) the images, in the order of the global batch.
using Steps = std::map<std::pair<uint64_t, uint64_t>, std::vector<std::pair<uint64_t, Seen>>>;

void collect(const ShardReader& shards, const FeedOptions& options, Steps& steps) {
  Feed feed(shards, options);
  const size_t bytes = static_cast<size_t>(options.augment.size) * options.augment.size * 3;
  while (const Batch* batch = feed.next()) {
    for (size_t i = 0; i < batch->labels.size(); ++i) {
      const auto first = batch->pixels.begin() + static_cast<ptrdiff_t>(i * bytes);
      steps[{batch->epoch, batch->step}].push_back(
          {batch->ids[i], {batch->labels[i], std::vector<uint8_t>(first, first + static_cast<ptrdiff_t>(bytes))}});
    }
  }
}

class FeedTest : public ::testing::Test {
 protected:
  FeedTest() : paths_(write_shards(folder_.path(), "train", {.shards = 3, .records = 45})), shards_(paths_) {}
  TempDir folder_;
  std::vector<ShardPath> paths_;
  ShardReader shards_;
};

TEST_F(FeedTest, EveryImageAtMostOncePerEpochWithItsLabel) {
  FeedOptions options = options_for(45, 8);
  options.end_epoch = 3;
  Steps steps;
  collect(shards_, options, steps);
  EXPECT_EQ(steps.size(), 15u);  // 5 steps of 8 per epoch; 5 images are dropped
  std::map<uint64_t, std::set<uint64_t>> by_epoch;
  for (const auto& [at, images] : steps) {
    ASSERT_EQ(images.size(), 8u);
    for (const auto& [id, seen] : images) {
      EXPECT_TRUE(by_epoch[at.first].insert(id).second) << id << " twice in epoch " << at.first;
      EXPECT_EQ(static_cast<uint64_t>(seen.label), id % 4);
    }
  }
}

TEST_F(FeedTest, StepsDoNotDependOnRanksAndThreads) {
  FeedOptions alone = options_for(45, 8);
  alone.end_epoch = 2;
  Steps expected;
  collect(shards_, alone, expected);
  for (const int ranks : {1, 2, 4}) {
    Steps steps;
    for (int rank = 0; rank < ranks; ++rank) {
      FeedOptions options = options_for(45, 8, ranks, rank);
      options.end_epoch = 2;
      options.threads = 1 + ranks;
      options.depth = 2 + rank;
      collect(shards_, options, steps);
    }
    EXPECT_TRUE(steps == expected) << ranks << " ranks";
  }
}

TEST_F(FeedTest, ResumesAtAnyStep) {
  FeedOptions options = options_for(45, 8);
  options.end_epoch = 3;
  Steps expected;
  collect(shards_, options, expected);
  for (const auto& [epoch, step] : std::vector<std::pair<uint64_t, uint64_t>>{{0, 3}, {1, 0}, {2, 4}, {1, 5}}) {
    options.first_epoch = epoch;
    options.first_step = step;  // step 5 of 5: the next epoch
    Steps steps;
    collect(shards_, options, steps);
    Steps rest(expected.lower_bound({epoch, step}), expected.end());
    EXPECT_TRUE(steps == rest) << epoch << ", " << step;
  }
}

TEST_F(FeedTest, CropsDifferBetweenEpochs) {
  FeedOptions options = options_for(45, 45);
  options.end_epoch = 2;
  Steps steps;
  collect(shards_, options, steps);
  std::map<uint64_t, std::vector<uint8_t>> first;
  for (const auto& [id, seen] : steps[{0, 0}]) first[id] = seen.pixels;
  size_t same = 0;
  for (const auto& [id, seen] : steps[{1, 0}]) same += first[id] == seen.pixels ? 1 : 0;
  EXPECT_LT(same, 5u);
}

TEST_F(FeedTest, EvaluationUsesEveryImageOnceAndPads) {
  for (const int ranks : {1, 2, 4}) {
    std::vector<uint64_t> ids;
    size_t padded = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      FeedOptions options = options_for(45, 16, ranks, rank);
      options.training = false;
      Feed feed(shards_, options);
      size_t steps = 0;
      for (; const Batch* batch = feed.next(); ++steps) {
        for (size_t i = 0; i < batch->labels.size(); ++i) {
          if (batch->labels[i] < 0) ++padded;
          if (batch->labels[i] >= 0) ids.push_back(batch->ids[i]);
        }
      }
      EXPECT_EQ(steps, 3u);  // on every rank
    }
    std::sort(ids.begin(), ids.end());
    ASSERT_EQ(ids.size(), 45u);
    for (uint64_t i = 0; i < 45; ++i) EXPECT_EQ(ids[i], i);
    EXPECT_EQ(padded, 3u);
  }
}

TEST_F(FeedTest, ADamagedRecordIsNamedAndEndsTraining) {
  {
    std::fstream file(paths_[1].rec, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(400);
    const char before = static_cast<char>(file.peek());
    file.seekp(400);
    file.put(static_cast<char>(before ^ 0x10));
  }
  FeedOptions options = options_for(45, 45);
  Feed feed(shards_, options);
  try {
    feed.next();
    FAIL() << "a record with a flipped bit was not refused";
  } catch (const DamageError& error) {
    EXPECT_NE(std::string(error.what()).find("train-00001.rec"), std::string::npos) << error.what();
  }
}

TEST_F(FeedTest, AnImageThatDoesNotDecodeIsNamed) {
  const ShardPath path{folder_ / "bad.rec", folder_ / "bad.idx"};
  {
    ShardWriter writer(path.rec, path.idx);
    std::vector<std::byte> jpeg = encode_jpeg(test::made_image(0, 0, 32, 32), 90);
    writer.append(0, 0, jpeg);
    jpeg.resize(jpeg.size() / 2);  // the record's checksum is right, but the image is cut short
    writer.append(77, 1, jpeg);
    writer.commit();
  }
  const ShardReader shards({path});
  Feed feed(shards, options_for(2, 2));
  try {
    feed.next();
    FAIL() << "an image that was cut short was not refused";
  } catch (const DamageError& error) {
    EXPECT_NE(std::string(error.what()).find("image 77"), std::string::npos) << error.what();
  }
}

TEST_F(FeedTest, ALabelBeyondTheClassesIsRefused) {
  FeedOptions options = options_for(45, 45);
  options.classes = 3;
  Feed feed(shards_, options);
  EXPECT_THROW(feed.next(), DamageError);
}

TEST_F(FeedTest, CanBeDestroyedAtAnyMoment) {
  for (int taken = 0; taken < 5; ++taken) {
    FeedOptions options = options_for(45, 8);
    options.end_epoch = 1000000;
    Feed feed(shards_, options);
    for (int i = 0; i < taken; ++i) feed.next();
  }
}

TEST_F(FeedTest, RefusesInvalidOptions) {
  EXPECT_THROW(Feed(shards_, options_for(45, 9, 2, 0)), UsageError);
  FeedOptions options = options_for(45, 8);
  options.augment.resize = 12;
  EXPECT_THROW(Feed(shards_, options), UsageError);
}

}  // namespace
}  // namespace packhorse
