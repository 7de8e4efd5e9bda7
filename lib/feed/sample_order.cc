#include "feed/sample_order.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/philox.h"
#include "base/text.h"

namespace packhorse {
namespace {

constexpr auto kUse = static_cast<uint32_t>(RandomUse::epoch_order);

uint64_t block_count(uint64_t records, uint64_t block) {
  if (records == 0) throw Error({"there are no records to shuffle", "", "pack some images first"});
  if (block == 0) throw UsageError({"a shuffle block of 0 records", "shuffle-block", "use 1 or more"});
  return (records + block - 1) / block;
}

/// The counter that selects a permutation: 0 is the epoch's blocks, w + 1 its window w.
uint64_t address_of(uint64_t epoch, uint64_t number) { return epoch << 32 | number; }

}  // namespace

EpochOrder::EpochOrder(uint64_t records, const ShuffleOptions& options, uint64_t epoch)
    : records_(records),
      block_(options.block),
      window_(std::max<uint64_t>(1, options.window)),
      seed_(options.seed),
      epoch_(epoch),
      blocks_(block_count(records, options.block), options.seed, kUse, address_of(epoch, 0)),
      short_slot_(blocks_.position_of(blocks_.count() - 1)),
      missing_(blocks_.count() * block_ - records) {}

uint64_t EpochOrder::slot_begin(uint64_t slot) const { return slot * block_ - (slot > short_slot_ ? missing_ : 0); }

uint64_t EpochOrder::slot_of(uint64_t position) const {
  const uint64_t short_end = (short_slot_ + 1) * block_ - missing_;
  return position < short_end ? position / block_ : (position + missing_) / block_;
}

uint64_t EpochOrder::window_begin(uint64_t window) const {
  return slot_begin(std::min(window * window_, blocks_.count()));
}

EpochOrder::Run EpochOrder::run(uint64_t slot) const {
  const uint64_t first = blocks_.at(slot) * block_;
  return {first, std::min(block_, records_ - first)};
}

uint64_t EpochOrder::at(uint64_t position) const {
  const uint64_t window = window_of(position);
  const uint64_t begin = window_begin(window);
  const uint64_t count = window_begin(window + 1) - begin;
  const Permutation inside(count, seed_, kUse, address_of(epoch_, window + 1));
  const uint64_t place = begin + inside.at(position - begin);
  const uint64_t slot = slot_of(place);
  return blocks_.at(slot) * block_ + (place - slot_begin(slot));
}

void BatchPlan::check(bool training) const {
  const auto many = static_cast<uint64_t>(ranks);
  if (global_batch == 0 || global_batch % many != 0) {
    const uint64_t low = std::max(many, global_batch / many * many);
    const std::string good =
        low > global_batch ? std::to_string(low) : std::to_string(low) + " or " + std::to_string(low + many);
    throw UsageError(
        {"a global batch of " + std::to_string(global_batch) + " does not divide evenly over " + counted(many, "rank"),
         "global-batch", "use " + good});
  }
  if (training && global_batch > records) {
    const uint64_t most = records / many * many;
    throw UsageError(
        {"a global batch of " + grouped(global_batch) + " is more than the " + grouped(records) + " training images",
         "global-batch", most > 0 ? "use " + std::to_string(most) + " or fewer" : "use fewer ranks"});
  }
}

}  // namespace packhorse
