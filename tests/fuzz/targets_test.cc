// Every target on its seeds, on the files of its corpus, and on thousands of changes of them, the same ones each time.
// `make fuzz` looks further, with libFuzzer and sanitizers.
#include "fuzz/targets.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/philox.h"

namespace packhorse::fuzz {
namespace {

namespace fs = std::filesystem;

std::vector<Bytes> inputs_of(const Target& target) {
  std::vector<Bytes> inputs = target.seeds();
  const fs::path folder = fs::path(PACKHORSE_ROOT) / "tests/fuzz/corpus" / target.name;
  if (!fs::exists(folder)) return inputs;
  std::vector<fs::path> files;
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) files.push_back(file.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    const std::string text = read_text(file);
    const auto bytes = std::as_bytes(std::span(text));
    inputs.emplace_back(bytes.begin(), bytes.end());
  }
  return inputs;
}

/// Cut, a range twice, a range gone, bits flipped, bytes of another input, numbers at their ends.
Bytes changed(const Bytes& input, const std::vector<Bytes>& others, RandomStream& random) {
  Bytes bytes = input;
  const auto below = [&](size_t count) {
    return static_cast<size_t>(random.below(static_cast<uint32_t>(std::max<size_t>(count, 1))));
  };
  const size_t changes = 1 + below(4);
  for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
    const size_t at = below(bytes.size()), length = std::min(bytes.size() - at, 1 + below(16));
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at),
               end = begin + static_cast<std::ptrdiff_t>(length);
    switch (random.below(6)) {
      case 0:
        bytes.resize(at);
        break;
      case 1: {
        const Bytes range(begin, end);
        bytes.insert(begin, range.begin(), range.end());
        break;
      }
      case 2:
        bytes.erase(begin, end);
        break;
      case 3:
        bytes[at] ^= static_cast<std::byte>(1u << random.below(8));
        break;
      case 4: {
        const Bytes& other = others[below(others.size())];
        for (size_t k = 0; k < length && at + k < other.size(); ++k) bytes[at + k] = other[at + k];
        break;
      }
      default:
        std::fill(begin, end, static_cast<std::byte>(random.below(2) == 0 ? 0xff : 0));
    }
  }
  return bytes;
}

class Fuzz : public testing::TestWithParam<std::string> {};

TEST_P(Fuzz, ChangedInputsAreReadOrRefused) {
  const Target& target = target_named(GetParam());
  const std::vector<Bytes> inputs = inputs_of(target);
  ASSERT_FALSE(inputs.empty());
  // A sound input is read: else nothing behind its first check would ever be looked at.
  EXPECT_NO_THROW(target.read(inputs.front()));
  for (const Bytes& input : inputs) run(target, input);
  const char* const count = std::getenv("PACKHORSE_MUTATIONS");
  const int64_t rounds = count == nullptr ? 10000 : std::atoll(count);
  for (int64_t round = 0; round < rounds; ++round) {
    RandomStream random(1, RandomUse::test, static_cast<uint64_t>(round), 0);
    const Bytes input = changed(inputs[static_cast<size_t>(round) % inputs.size()], inputs, random);
    ASSERT_NO_THROW(run(target, input)) << target.name << ", round " << round;
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Target& target : targets()) all.push_back(target.name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Targets, Fuzz, testing::ValuesIn(names()), [](const auto& name) { return name.param; });

}  // namespace
}  // namespace packhorse::fuzz
