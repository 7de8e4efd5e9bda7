// The dice that the orders are drawn with: splitmix64, the same draws for the same seed everywhere.
#pragma once

#include <cstdint>
#include <numeric>

namespace packhorse::standin {

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// 0 ... count - 1.
  uint64_t below(uint64_t count) {
    if (count < 2) return 0;
    return count >> 32 == 0 ? (bits() >> 32) * count >> 32 : bits() % count;
  }

 private:
  uint64_t state_;
};

/// 0 ... count - 1, each once, in a drawn order that takes no memory: steps of one length, which has no divisor in
/// common with the count. Of any two numbers, either may come first.
class DrawnOrder {
 public:
  DrawnOrder() = default;
  DrawnOrder(Dice& dice, uint64_t count) : count_(count), at_(dice.below(count)) {
    if (count < 3) return;
    do step_ = 1 + dice.below(count - 1);
    while (std::gcd(step_, count) != 1);
  }

  bool empty() const { return taken_ == count_; }
  uint64_t next() {
    const uint64_t at = at_;
    at_ += step_;
    if (at_ >= count_) at_ -= count_;
    ++taken_;
    return at;
  }

 private:
  uint64_t count_ = 0, at_ = 0, step_ = 1, taken_ = 0;
};

}  // namespace packhorse::standin
