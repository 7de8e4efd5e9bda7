// The accuracy of a classifier: top-1, top-5 and top-20 over all classes or over some of them, for each class and for
// each pair of classes.
//
// Rules. A class ranks before another if its logit is higher, or if the logits are equal and its number is lower: no
// tie is left to chance. Every image is counted in exactly one of images, outside and not_finite. All counts are
// integers, also the loss (in units of 2^-24 nat, at most 65,536 nats for each image), so that sums do not depend on
// how the images were distributed over ranks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace packhorse {

inline constexpr std::array<size_t, 3> kTopK{1, 5, 20};

/// Which of a network's classes are chosen.
class ClassSet {
 public:
  /// All of them.
  explicit ClassSet(size_t classes);
  /// Some of them, at least one; duplicates count once.
  ClassSet(size_t classes, const std::vector<uint32_t>& chosen);
  /// Number of classes of the network.
  size_t classes() const { return taken_.size(); }
  /// The chosen classes, in ascending order.
  const std::vector<uint32_t>& members() const { return members_; }
  bool has(int64_t label) const { return label >= 0 && static_cast<size_t>(label) < taken_.size() && taken_[label]; }

 private:
  std::vector<uint32_t> members_;
  std::vector<bool> taken_;
};

/// A class and its share of the softmax over the chosen classes.
struct ScoredClass {
  uint32_t label = 0;
  double probability = 0;
};

/// The top `count` of the chosen classes, best first. Throws if their logits are not all finite.
std::vector<ScoredClass> best_classes(std::span<const float> logits, const ClassSet& set, size_t count);

/// How many of the chosen classes rank before `label` (0: it is the argmax).
size_t rank_of(std::span<const float> logits, const ClassSet& set, uint32_t label);

/// Counts over images. To add up the counters of several ranks, sum counts() and merge the texts of pairs_text().
class AccuracyCounters {
 public:
  explicit AccuracyCounters(ClassSet set);

  /// `logits` has shape (classes). An image whose label is not chosen is counted as outside; one whose chosen logits
  /// are not all finite, as not_finite.
  void add(std::span<const float> logits, int64_t label);

  const ClassSet& classes() const { return set_; }
  uint64_t images() const { return counts_[kImages]; }
  uint64_t outside() const { return counts_[kOutside]; }
  uint64_t not_finite() const { return counts_[kNotFinite]; }
  /// Number of images whose label is among the top kTopK[k].
  uint64_t right(size_t k) const { return counts_[kRight + k]; }
  /// right(k) as a share of images(); 0 if there are none.
  double accuracy(size_t k) const;
  /// Mean cross-entropy over images(), in nats.
  double loss() const;

  /// For each class of the network.
  uint64_t class_images(size_t label) const { return counts_[per_class(label)]; }
  uint64_t class_top1(size_t label) const { return counts_[per_class(label) + 1]; }
  uint64_t class_top5(size_t label) const { return counts_[per_class(label) + 2]; }

  struct Pair {
    uint32_t label = 0, predicted = 0;
    uint64_t images = 0;
  };
  /// Misclassifications: pairs of label and wrong prediction, most frequent first, then by label and prediction.
  std::vector<Pair> confusions() const;

  /// All counts except the pairs, to be summed in place.
  std::span<uint64_t> counts() { return counts_; }
  /// The pairs as a text; add_pairs() adds the text of another rank.
  std::string pairs_text() const;
  void add_pairs(const std::string& text);

 private:
  enum Place : size_t { kImages, kOutside, kNotFinite, kLossSum, kRight, kClasses = kRight + kTopK.size() };
  static size_t per_class(size_t label) { return kClasses + 3 * label; }

  ClassSet set_;
  std::vector<uint64_t> counts_;
  std::map<std::pair<uint32_t, uint32_t>, uint64_t> pairs_;
};

}  // namespace packhorse
