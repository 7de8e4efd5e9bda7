// Counter-based random numbers, which are looked up by an address: Philox4x32-10 (Salmon et al., SC 2011).
//
// Rule: a number depends on (seed, use, sample, epoch, ...) and on nothing else: never on a thread, a rank, a batch
// slot or on how many numbers were drawn before.
#pragma once

#include <array>
#include <cstdint>

namespace packhorse {

/// What a stream of numbers is used for, so that no two uses share a stream.
enum class RandomUse : uint32_t { list_shuffle, validation_split, epoch_order, augment, weights, test };

/// The bijection itself: one block of four random words.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// The numbers at one address, in order.
class RandomStream {
 public:
  /// `major` and `minor` are the address within the use (for example epoch and sample id).
  RandomStream(uint64_t seed, RandomUse use, uint64_t major, uint64_t minor);
  uint32_t next();
  /// Uniform in [0, 1) with 24 random bits.
  float uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  /// Uniform integer in [0, bound), bound > 0.
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>((uint64_t{next()} * bound) >> 32); }
  /// Standard normal (Box-Muller).
  float normal();

 private:
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace packhorse
