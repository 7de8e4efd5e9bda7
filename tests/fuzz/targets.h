// What reads bytes from outside, each as one function: a fuzzer's entry (libfuzzer.cc), and that of the test which runs
// them on changed seeds without one.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace packhorse::fuzz {

using Bytes = std::vector<std::byte>;

struct Target {
  std::string name;
  /// Reads the bytes. An Error is an answer; whatever else comes out of it is a defect.
  std::function<void(std::span<const std::byte>)> read;
  /// Sound inputs. The files of tests/fuzz/corpus/NAME come in addition.
  std::function<std::vector<Bytes>()> seeds;
};

const std::vector<Target>& targets();
/// Throws an Error that names them all if there is no such target.
const Target& target_named(const std::string& name);
/// Calls `read`, and takes an Error for an answer.
void run(const Target& target, std::span<const std::byte> bytes);

}  // namespace packhorse::fuzz
