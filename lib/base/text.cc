#include "base/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <iterator>
#include <numeric>
#include <utility>

#include <fmt/core.h>

namespace packhorse {

std::string grouped(uint64_t number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

std::string bytes_text(double bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  while (std::abs(bytes) >= 1000 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

std::string utc_text(std::chrono::system_clock::time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::string duration_text(double seconds) {
  if (!(seconds < 1e9)) return "unknown";
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{} d {:02} h", whole / 86400, whole / 3600 % 24);
}

std::string counted(uint64_t number, const std::string& thing) {
  const bool hisses = thing.ends_with("s") || thing.ends_with("x") || thing.ends_with("ch") || thing.ends_with("sh");
  return grouped(number) + " " + thing + (number == 1 ? "" : hisses ? "es" : "s");
}

std::string joined(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::optional<std::string> nearest(const std::string& wrong, const std::vector<std::string>& words) {
  // Letters to add, to remove, to change or to swap with the next one (optimal string alignment): a third of the word
  // at most.
  const auto distance = [&](const std::string& word) {
    std::vector<size_t> two_before, before(word.size() + 1), row(word.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < wrong.size(); ++i) {
      two_before = std::exchange(before, row);
      row[0] = i + 1;
      for (size_t j = 0; j < word.size(); ++j) {
        const size_t changed = before[j] + (wrong[i] == word[j] ? 0 : 1);
        row[j + 1] = std::min({changed, row[j] + 1, before[j + 1] + 1});
        if (i > 0 && j > 0 && wrong[i] == word[j - 1] && wrong[i - 1] == word[j])
          row[j + 1] = std::min(row[j + 1], two_before[j - 1] + 1);
      }
    }
    return row.back();
  };
  std::optional<std::string> best;
  size_t least = std::max<size_t>(1, wrong.size() / 3) + 1;
  for (const std::string& word : words) {
    const size_t found = distance(word);
    if (found < least) best = word, least = found;
  }
  return best;
}

}  // namespace packhorse
