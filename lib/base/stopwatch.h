// Seconds that pass: the one way to measure a duration.
#pragma once

#include <chrono>

namespace packhorse {

/// Runs from the moment it is made.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  /// Seconds since it was made or since the last lap().
  double lap() {
    const double passed = seconds();
    start_ = Clock::now();
    return passed;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace packhorse
