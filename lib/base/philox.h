// Random numbers that are addressed, not consumed: Philox4x32-10 (Salmon et al., SC 2011).
//
// Rule: a number is a function of (seed, what it is for, which sample, which epoch, ...) and of nothing else; never of
// a thread, a rank, a batch slot or of how many numbers were drawn before.
#pragma once

#include <array>
#include <cstdint>

namespace packhorse {

/// What a stream of numbers is for, so that no two purposes share one.
enum class RandomUse : uint32_t { list_shuffle, validation_split, epoch_order, augment, weights, test };

/// One block of four words: the bijection itself.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// The numbers at one address, taken in order.
class RandomStream {
 public:
  /// `major` and `minor` name the place within the use (epoch and sample id, say).
  RandomStream(uint64_t seed, RandomUse use, uint64_t major, uint64_t minor);
  uint32_t next();
  /// Uniform in [0, 1) with 24 random bits.
  float uniform() { return static_cast<float>(next() >> 8) * 0x1p-24f; }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  /// Uniform whole number in [0, bound), bound > 0.
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
