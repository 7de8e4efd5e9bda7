// A shuffle that is computed for each position, not stored: a keyed bijection of [0, count), in O(1) time and memory.
//
// A balanced Feistel network of Philox rounds over the next power of four. It is applied until the result is in
// [0, count) (cycle walking: Black & Rogaway, "Ciphers with arbitrary finite domains", 2002). On average this takes
// fewer than four steps.
#pragma once

#include <cstdint>

namespace packhorse {

class Permutation {
 public:
  Permutation(uint64_t count, uint64_t seed, uint32_t use, uint64_t address);
  uint64_t count() const { return count_; }
  /// The element at `position`.
  uint64_t at(uint64_t position) const;
  /// The position of `element`: the inverse of at().
  uint64_t position_of(uint64_t element) const;

 private:
  uint64_t round(uint64_t half, int index) const;
  uint64_t forward(uint64_t x) const;
  uint64_t backward(uint64_t x) const;

  uint64_t count_;
  int half_bits_;
  uint64_t half_mask_;
  uint32_t key0_, key1_;
};

}  // namespace packhorse
