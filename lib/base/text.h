// Numbers and lists in a form for people.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace packhorse {

/// "1,234,567".
std::string grouped(uint64_t number);
/// "17.6 kB", "250.0 GB": powers of ten, as sizes of disks are stated.
std::string bytes_text(double bytes);
/// "12.3 s", "4 min 05 s", "8 d 12 h".
std::string duration_text(double seconds);
/// "2026-01-31T23:59:59Z".
std::string utc_text(std::chrono::system_clock::time_point when);
/// "1 rank", "1,024 ranks", "2 classes".
std::string counted(uint64_t number, const std::string& thing);
/// The word that `wrong` was most likely meant to be, or nothing if none is like it.
std::optional<std::string> nearest(const std::string& wrong, const std::vector<std::string>& words);
/// "a, b, c".
std::string joined(const std::vector<std::string>& words, const std::string& separator = ", ");

}  // namespace packhorse
