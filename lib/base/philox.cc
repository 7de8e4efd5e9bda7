#include "base/philox.h"

#include <cmath>
#include <numbers>

namespace packhorse {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

RandomStream::RandomStream(uint64_t seed, RandomUse use, uint64_t major, uint64_t minor)
    : counter_{0, static_cast<uint32_t>(minor), static_cast<uint32_t>(minor >> 32), static_cast<uint32_t>(major)} {
  // The bijection itself mixes the use and the high word of `major` into the key, so that nearby seeds, uses and epochs
  // share no structure.
  const auto folded = philox4x32({static_cast<uint32_t>(use), static_cast<uint32_t>(major >> 32), 0, 0},
                                 {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  key_ = {folded[0], folded[1]};
}

uint32_t RandomStream::next() {
  if (used_ == 4) {
    block_ = philox4x32(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[used_++];
}

float RandomStream::normal() {
  const float radius = std::sqrt(-2.0f * std::log(1.0f - uniform()));  // 1 - uniform() is in (0, 1]
  return radius * std::cos(2.0f * std::numbers::pi_v<float> * uniform());
}

}  // namespace packhorse
