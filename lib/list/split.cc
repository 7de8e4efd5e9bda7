#include "list/split.h"

#include <algorithm>
#include <cmath>

#include "base/permutation.h"
#include "base/philox.h"

namespace packhorse {
namespace {

/// How many validation images of a class are requested.
uint64_t requested(const ValidationSplit& split, uint64_t images, uint32_t label, uint64_t seed) {
  if (split.per_class > 0) return split.per_class;
  const double chance = RandomStream(seed, RandomUse::validation_split, 0, label).uniform();
  return static_cast<uint64_t>(std::floor(split.fraction * static_cast<double>(images) + chance));
}

}  // namespace

Lists split_images(std::vector<ImageEntry> images, const ValidationSplit& split, uint64_t seed) {
  Lists lists;
  if (!split.wanted()) {
    lists.train = std::move(images);
    return lists;
  }
  for (size_t begin = 0; begin < images.size();) {
    const uint32_t label = images[begin].label;
    size_t end = begin;
    while (end < images.size() && images[end].label == label) ++end;
    const uint64_t count = end - begin;
    const uint64_t wanted = requested(split, count, label, seed);
    const uint64_t taken = std::min(wanted, count - 1);  // never a class's last image
    lists.classes_spared += taken < wanted ? 1 : 0;
    const Permutation order(count, seed, static_cast<uint32_t>(RandomUse::validation_split), label);
    for (uint64_t i = 0; i < count; ++i) {
      auto& list = order.position_of(i) < taken ? lists.validation : lists.train;
      list.push_back(std::move(images[begin + i]));
    }
    begin = end;
  }
  return lists;
}

void shuffle_images(std::vector<ImageEntry>& images, uint64_t seed, uint64_t which) {
  if (images.empty()) return;
  const Permutation order(images.size(), seed, static_cast<uint32_t>(RandomUse::list_shuffle), which);
  std::vector<ImageEntry> shuffled;
  shuffled.reserve(images.size());
  for (uint64_t i = 0; i < images.size(); ++i) {
    shuffled.push_back(std::move(images[order.at(i)]));
    shuffled.back().id = i;
  }
  images = std::move(shuffled);
}

}  // namespace packhorse
