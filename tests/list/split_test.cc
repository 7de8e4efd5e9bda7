#include "list/split.h"

#include <cmath>
#include <map>
#include <set>

#include <gtest/gtest.h>

namespace packhorse {
namespace {

std::vector<ImageEntry> made_images(const std::vector<int>& per_class) {
  std::vector<ImageEntry> images;
  for (uint32_t label = 0; label < per_class.size(); ++label) {
    for (int i = 0; i < per_class[label]; ++i) {
      ImageEntry image;
      image.label = label;
      image.path = std::to_string(label) + "/" + std::to_string(i);
      images.push_back(image);
    }
  }
  return images;
}

std::map<uint32_t, int> count(const std::vector<ImageEntry>& images) {
  std::map<uint32_t, int> counts;
  for (const ImageEntry& image : images) ++counts[image.label];
  return counts;
}

std::vector<std::string> paths(const std::vector<ImageEntry>& images) {
  std::vector<std::string> result;
  result.reserve(images.size());
  for (const ImageEntry& image : images) result.push_back(image.path);
  return result;
}

TEST(Split, TakesTheRequestedNumberOfEachClassAndLosesNone) {
  const Lists lists = split_images(made_images({20, 3, 1, 50}), {.per_class = 5}, 1);
  const auto validation = count(lists.validation), train = count(lists.train);
  EXPECT_EQ(validation, (std::map<uint32_t, int>{{0, 5}, {1, 2}, {3, 5}}));
  EXPECT_EQ(train, (std::map<uint32_t, int>{{0, 15}, {1, 1}, {2, 1}, {3, 45}}));
  EXPECT_EQ(lists.classes_spared, 2u);
  std::set<std::string> all;
  for (const auto& list : {lists.train, lists.validation}) {
    for (const ImageEntry& image : list) EXPECT_TRUE(all.insert(image.path).second);
  }
  EXPECT_EQ(all.size(), 74u);
}

TEST(Split, AFractionHoldsForTheListEvenWithSmallClasses) {
  const Lists lists = split_images(made_images(std::vector<int>(3000, 7)), {.fraction = 0.1}, 3);
  // 3,000 draws of 0 or 1 with a chance of 0.7: 2,100 with a standard deviation of 25; five deviations are allowed.
  EXPECT_NEAR(static_cast<double>(lists.validation.size()), 2100, 125);
  for (const auto& [label, number] : count(lists.validation)) EXPECT_LE(number, 1);
  EXPECT_TRUE(split_images(made_images({5, 5}), {}, 3).validation.empty());
}

TEST(Split, TheSeedDeterminesTheLists) {
  const ValidationSplit split{.fraction = 0.3};
  const auto one = split_images(made_images({40, 40}), split, 1);
  EXPECT_EQ(paths(one.validation), paths(split_images(made_images({40, 40}), split, 1).validation));
  EXPECT_NE(paths(one.validation), paths(split_images(made_images({40, 40}), split, 2).validation));
  auto a = made_images({100}), b = made_images({100}), c = made_images({100}), d = made_images({100});
  shuffle_images(a, 1, 0);
  shuffle_images(b, 1, 0);
  shuffle_images(c, 2, 0);
  shuffle_images(d, 1, 1);
  EXPECT_EQ(paths(a), paths(b));
  EXPECT_NE(paths(a), paths(c));
  EXPECT_NE(paths(a), paths(d));
}

TEST(Split, TheSplitOfOneClassDoesNotDependOnTheOthers) {
  const auto chosen = [](const Lists& lists) {
    std::set<std::string> names;
    for (const ImageEntry& image : lists.validation) {
      if (image.label == 0) names.insert(image.path);
    }
    return names;
  };
  EXPECT_EQ(chosen(split_images(made_images({30, 5}), {.per_class = 6}, 1)),
            chosen(split_images(made_images({30, 500}), {.per_class = 6}, 1)));
}

TEST(Split, ShuffleNumbersFromZeroAndMixesClasses) {
  auto images = made_images(std::vector<int>(50, 40));  // sorted by class, as in practice
  shuffle_images(images, 9, 0);
  std::set<std::string> all;
  for (size_t i = 0; i < images.size(); ++i) {
    EXPECT_EQ(images[i].id, i);
    all.insert(images[i].path);
  }
  EXPECT_EQ(all.size(), 2000u);
  // 100 images drawn from 50 classes of equal size have 50 (1 - 0.98^100) = 43.4 classes on average, with a deviation
  // below 3: every window must look like the whole list.
  for (size_t window = 0; window < images.size(); window += 100) {
    std::set<uint32_t> classes;
    for (size_t i = window; i < window + 100; ++i) classes.insert(images[i].label);
    EXPECT_GT(classes.size(), 30u) << window;
  }
  std::vector<ImageEntry> none;
  shuffle_images(none, 1, 0);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace packhorse
