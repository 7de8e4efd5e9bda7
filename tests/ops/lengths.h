// Lengths and distances of vectors, in f64.
#pragma once

#include <cmath>
#include <span>

namespace packhorse {

inline double norm(std::span<const float> a) {
  double sum = 0;
  for (const float value : a) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

inline double distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return std::sqrt(sum);
}

}  // namespace packhorse
