#include "base/permutation.h"

#include <bit>

#include "base/error.h"
#include "base/philox.h"

namespace packhorse {
namespace {
constexpr int kRounds = 6;
}

Permutation::Permutation(uint64_t count, uint64_t seed, uint32_t use, uint64_t address) : count_(count) {
  if (count == 0) throw Error({"a permutation needs at least one element", "", ""});
  const int bits = count > 1 ? std::bit_width(count - 1) : 1;
  half_bits_ = (bits + 1) / 2;
  half_mask_ = (uint64_t{1} << half_bits_) - 1;
  const auto key = philox4x32({use, static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32), 0x7065726d},
                              {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  key0_ = key[0];
  key1_ = key[1];
}

uint64_t Permutation::round(uint64_t half, int index) const {
  const auto word =
      philox4x32({static_cast<uint32_t>(half), static_cast<uint32_t>(half >> 32), static_cast<uint32_t>(index), 0},
                 {key0_, key1_});
  return (word[0] | uint64_t{word[1]} << 32) & half_mask_;
}

uint64_t Permutation::forward(uint64_t x) const {
  uint64_t left = x >> half_bits_, right = x & half_mask_;
  for (int i = 0; i < kRounds; ++i) {
    const uint64_t next = left ^ round(right, i);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

uint64_t Permutation::backward(uint64_t x) const {
  uint64_t left = x >> half_bits_, right = x & half_mask_;
  for (int i = kRounds - 1; i >= 0; --i) {
    const uint64_t before = right ^ round(left, i);
    right = left;
    left = before;
  }
  return left << half_bits_ | right;
}

uint64_t Permutation::at(uint64_t position) const {
  uint64_t x = position;
  do x = forward(x);
  while (x >= count_);
  return x;
}

uint64_t Permutation::position_of(uint64_t element) const {
  uint64_t x = element;
  do x = backward(x);
  while (x >= count_);
  return x;
}

}  // namespace packhorse
