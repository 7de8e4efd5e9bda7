#include "metrics/top_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "base/error.h"

namespace packhorse {
namespace {

constexpr double kLossUnits = 1 << 24;
constexpr double kMaxLoss = 1 << 16;  // of one image, in nats: sums over fewer than 2^24 images always fit in 64 bits

/// log of the sum of exp over the chosen logits, in double: much more precise than the logits are.
double log_sum(std::span<const float> logits, const ClassSet& set) {
  float top = logits[set.members().front()];
  for (const uint32_t label : set.members()) top = std::max(top, logits[label]);
  double sum = 0;
  for (const uint32_t label : set.members()) sum += std::exp(static_cast<double>(logits[label]) - top);
  return top + std::log(sum);
}

bool all_finite(std::span<const float> logits, const ClassSet& set) {
  return std::all_of(set.members().begin(), set.members().end(),
                     [&](uint32_t label) { return std::isfinite(logits[label]); });
}

void check_width(std::span<const float> logits, const ClassSet& set) {
  if (logits.size() == set.classes()) return;
  throw Error({"the network gives " + std::to_string(logits.size()) + " values for " + std::to_string(set.classes()) +
                   " classes",
               "", ""});
}

}  // namespace

ClassSet::ClassSet(size_t classes) : members_(classes), taken_(classes, true) {
  std::iota(members_.begin(), members_.end(), 0u);
}

ClassSet::ClassSet(size_t classes, const std::vector<uint32_t>& chosen) : taken_(classes, false) {
  for (const uint32_t label : chosen) {
    if (label >= classes) {
      throw Error({"class " + std::to_string(label) + " was chosen, but the network has " + std::to_string(classes) +
                       " classes",
                   "", ""});
    }
    taken_[label] = true;
  }
  for (size_t label = 0; label < classes; ++label) {
    if (taken_[label]) members_.push_back(static_cast<uint32_t>(label));
  }
  if (members_.empty()) {
    throw UsageError({"none of the network's classes was chosen", "", "compare the ids with those of the class table"});
  }
}

std::vector<ScoredClass> best_classes(std::span<const float> logits, const ClassSet& set, size_t count) {
  check_width(logits, set);
  if (!all_finite(logits, set)) throw Error({"the network gives values that are not finite", "", ""});
  std::vector<uint32_t> order = set.members();
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(count), order.end(),
                    [&](uint32_t a, uint32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  const double base = log_sum(logits, set);
  std::vector<ScoredClass> best;
  best.reserve(count);
  for (size_t i = 0; i < count; ++i) best.push_back({order[i], std::exp(logits[order[i]] - base)});
  return best;
}

size_t rank_of(std::span<const float> logits, const ClassSet& set, uint32_t label) {
  size_t before = 0;
  const float own = logits[label];
  for (const uint32_t other : set.members()) {
    before += logits[other] > own || (logits[other] == own && other < label) ? 1 : 0;
  }
  return before;
}

AccuracyCounters::AccuracyCounters(ClassSet set) : set_(std::move(set)), counts_(per_class(set_.classes()), 0) {}

void AccuracyCounters::add(std::span<const float> logits, int64_t label) {
  check_width(logits, set_);
  if (!set_.has(label)) {
    ++counts_[kOutside];
    return;
  }
  if (!all_finite(logits, set_)) {
    ++counts_[kNotFinite];
    return;
  }
  const auto own = static_cast<uint32_t>(label);
  const size_t rank = rank_of(logits, set_, own);
  ++counts_[kImages];
  // Rounding alone could make the loss negative.
  const double loss = std::clamp(log_sum(logits, set_) - logits[own], 0.0, kMaxLoss);
  counts_[kLossSum] += static_cast<uint64_t>(std::llround(loss * kLossUnits));
  for (size_t k = 0; k < kTopK.size(); ++k) counts_[kRight + k] += rank < kTopK[k] ? 1 : 0;
  ++counts_[per_class(own)];
  counts_[per_class(own) + 1] += rank < 1 ? 1 : 0;
  counts_[per_class(own) + 2] += rank < 5 ? 1 : 0;
  if (rank == 0) return;
  uint32_t first = set_.members().front();
  for (const uint32_t other : set_.members()) first = logits[other] > logits[first] ? other : first;
  ++pairs_[{own, first}];
}

double AccuracyCounters::accuracy(size_t k) const {
  return images() == 0 ? 0 : static_cast<double>(right(k)) / static_cast<double>(images());
}

double AccuracyCounters::loss() const {
  return images() == 0 ? 0 : static_cast<double>(counts_[kLossSum]) / kLossUnits / static_cast<double>(images());
}

std::vector<AccuracyCounters::Pair> AccuracyCounters::confusions() const {
  std::vector<Pair> pairs;
  pairs.reserve(pairs_.size());
  for (const auto& [key, images] : pairs_) pairs.push_back({key.first, key.second, images});
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.images > b.images; });
  return pairs;
}

std::string AccuracyCounters::pairs_text() const {
  std::ostringstream text;
  for (const auto& [key, images] : pairs_) text << key.first << ' ' << key.second << ' ' << images << '\n';
  return text.str();
}

void AccuracyCounters::add_pairs(const std::string& text) {
  std::istringstream lines(text);
  uint32_t label = 0, predicted = 0;
  uint64_t images = 0;
  while (lines >> label >> predicted >> images) pairs_[{label, predicted}] += images;
}

}  // namespace packhorse
