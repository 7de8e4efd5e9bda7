// A JSON value as a C++ type, if it is of that type and fits. JSON's own conversion turns 2.9 into 2 and -1 into
// 18446744073709551615.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "base/json.h"

namespace packhorse {

/// T: bool, an integer, a floating-point number, std::string, a vector of std::string, or Json. Throws a
/// std::invalid_argument that says what would do: "a whole number".
template <typename T>
T typed(const Json& value) {
  if constexpr (std::is_same_v<T, Json>) {
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!value.is_boolean()) throw std::invalid_argument("true or false");
  } else if constexpr (std::is_integral_v<T>) {
    if (!value.is_number_integer()) throw std::invalid_argument("a whole number");
    const bool fits =
        value.is_number_unsigned() ? std::in_range<T>(value.get<uint64_t>()) : std::in_range<T>(value.get<int64_t>());
    if (!fits) throw std::invalid_argument(std::is_unsigned_v<T> ? "a whole number from 0 on" : "a smaller number");
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!value.is_number()) throw std::invalid_argument("a number");
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!value.is_string()) throw std::invalid_argument("text in quotes");
  } else {
    const bool texts = value.is_array() &&
                       std::all_of(value.begin(), value.end(), [](const Json& entry) { return entry.is_string(); });
    if (!texts) throw std::invalid_argument("a list of texts in quotes");
  }
  return value.get<T>();
}

}  // namespace packhorse
