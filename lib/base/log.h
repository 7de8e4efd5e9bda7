// What the user sees while a stage runs: messages and progress on standard error, results on standard output.
//
// Rule: rank 0 prints everything. Other ranks print only warnings and errors, with their rank in front.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/stopwatch.h"

namespace packhorse {

/// Sets the rank that messages of this process carry from now on.
void set_log_rank(int rank, int ranks);

void log_info(const std::string& message);
void log_warning(const std::string& message);
void log_error(const std::string& message);

/// Throughput and time left: a bar on a terminal; otherwise a line every 5 seconds, or every PACKHORSE_PROGRESS_SECONDS
/// of the environment. Several threads may call add() at the same time.
class Progress {
 public:
  /// `unit` is the plural ("images"; "bytes" are shown as MB and GB). A `total` of 0 means unknown. With `silent`
  /// nothing is printed.
  Progress(std::string label, std::string unit, uint64_t total, bool silent = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void add(uint64_t count = 1);
  /// The seconds that were spent on what is done so far, where other work comes in between: the throughput shown is
  /// that of these seconds, the time left that of all.
  void spent(double seconds) { spent_ns_ = static_cast<int64_t>(seconds * 1e9); }
  /// Text shown after the throughput ("loss 4.21").
  void note(const std::string& text);
  uint64_t done() const { return done_.load(); }
  double seconds() const { return clock_.seconds(); }

 private:
  void show(bool last);
  std::string amount(uint64_t count) const;       // "74.9 MB", "1,234"
  std::string amount_text(uint64_t count) const;  // "74.9 MB", "1,234 images"

  const std::string label_, unit_;
  const uint64_t total_;
  const bool silent_, terminal_;
  const Stopwatch clock_;
  std::atomic<uint64_t> done_{0};
  std::atomic<int64_t> next_show_ns_, spent_ns_{-1};
  std::mutex mutex_;
  std::string note_;
};

}  // namespace packhorse
