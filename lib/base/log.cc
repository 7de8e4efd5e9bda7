#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <fmt/core.h>

#include "base/text.h"

namespace packhorse {
namespace {

constexpr const char* kBytes = "bytes";  // the unit that is shown as MB and GB

int log_rank = 0;
int log_ranks = 1;

// A name must not move the cursor, or hide what stands before it.
std::string visible(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f)
      result += fmt::format("\\x{:02x}", byte);
    else
      result += c;
  }
  return result;
}

void print_line(const char* kind, const std::string& message) {
  const std::string who = log_ranks > 1 && log_rank > 0 ? fmt::format("[rank {}] ", log_rank) : "";
  const std::string line = fmt::format("{}{}{}\n", who, kind, visible(message));
  std::fwrite(line.data(), 1, line.size(), stderr);
}

int64_t interval_ns(bool terminal) {
  if (terminal) return 100'000'000;
  const char* chosen = std::getenv("PACKHORSE_PROGRESS_SECONDS");
  const double seconds = chosen != nullptr ? std::atof(chosen) : 5.0;
  return static_cast<int64_t>(std::max(0.1, seconds) * 1e9);
}

}  // namespace

void set_log_rank(int rank, int ranks) {
  log_rank = rank;
  log_ranks = ranks;
}

void log_info(const std::string& message) {
  if (log_rank == 0) print_line("", message);
}
void log_warning(const std::string& message) { print_line("warning: ", message); }
void log_error(const std::string& message) { print_line("error: ", message); }

Progress::Progress(std::string label, std::string unit, uint64_t total, bool silent)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      silent_(silent || log_rank != 0),
      terminal_(isatty(STDERR_FILENO) != 0),
      next_show_ns_(interval_ns(terminal_)) {}

Progress::~Progress() {
  if (!silent_) show(true);
}

void Progress::note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  note_ = text;
}

void Progress::add(uint64_t count) {
  done_ += count;
  if (silent_) return;
  const int64_t now = static_cast<int64_t>(clock_.seconds() * 1e9);
  int64_t due = next_show_ns_.load();
  if (now < due || !next_show_ns_.compare_exchange_strong(due, now + interval_ns(terminal_))) return;
  show(false);
}

std::string Progress::amount(uint64_t count) const {
  return unit_ == kBytes ? bytes_text(static_cast<double>(count)) : grouped(count);
}
std::string Progress::amount_text(uint64_t count) const { return amount(count) + (unit_ == kBytes ? "" : " " + unit_); }

void Progress::show(bool last) {
  const std::lock_guard lock(mutex_);
  const uint64_t done = done_.load();
  const double taken = std::max(seconds(), 1e-9);
  const int64_t spent = spent_ns_.load();
  const double busy = spent < 0 ? taken : std::max(static_cast<double>(spent) * 1e-9, 1e-9);
  const double rate = static_cast<double>(done) / busy;
  std::string line = label_ + " " + (total_ > 0 ? amount(done) + " of " + amount_text(total_) : amount_text(done));
  if (total_ > 0 && terminal_) {
    constexpr uint64_t kWidth = 24;
    const uint64_t filled = std::min(kWidth, done * kWidth / total_);
    line += " [" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "]";
  }
  line +=
      "  " + (unit_ == kBytes ? bytes_text(rate) : fmt::format("{:.{}f} {}", rate, rate < 100 ? 1 : 0, unit_)) + "/s";
  if (last) {
    line += "  in " + duration_text(taken);
  } else if (total_ > done && done > 0) {
    line += "  ETA " + duration_text(static_cast<double>(total_ - done) * taken / static_cast<double>(done));
  }
  if (!note_.empty()) line += "  " + note_;
  fmt::print(stderr, "{}{}{}", terminal_ ? "\r\033[K" : "", line, last || !terminal_ ? "\n" : "");
}

}  // namespace packhorse
