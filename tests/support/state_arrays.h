// Arrays of a state that a test both saves and loads.
#pragma once

#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace packhorse::test {

inline std::vector<StateArray> to_save(std::span<const StateBuffer> arrays) {
  std::vector<StateArray> result;
  for (const StateBuffer& array : arrays) result.push_back({array.name, array.values, array.by_statistic});
  return result;
}

}  // namespace packhorse::test
