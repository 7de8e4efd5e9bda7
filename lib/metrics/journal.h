// The training journal, `metrics.jsonl`: append-only lines that survive kill -9.
//
// Each line is one JSON object with "kind": "run" (a start or resume: settings, ranks, host), "step", "epoch",
// "validation" or "stop"; all but "run" have the "step" they belong to. If a kill cut the last line short (it has no
// line end), reading drops it; any other line that does not parse is damage. A resumed run first removes what comes
// after its checkpoint's step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace packhorse {

/// Each "run" line states it. A run line without one is of Packhorse 0.1, and is read like schema 1.
inline constexpr const char* kJournalSchema = "packhorse/journal/1";

class Journal {
 public:
  /// Opens the file for appending; creates it if there is none; removes a last line that was cut short.
  explicit Journal(const std::filesystem::path& path);
  /// Appends one whole line with one write(2). If that fails (for example on a full disk), nothing of the line remains.
  /// A number that is not finite is written as null, because JSON has no form for it.
  void append(const Json& line);
  /// Flushes the file to disk.
  void sync();

 private:
  std::filesystem::path path_;
  Descriptor file_;
};

/// All whole lines, in order.
std::vector<Json> read_journal(const std::filesystem::path& path);

/// Rewrites the journal (atomically) without the "step", "epoch", "validation" and "stop" lines after `step`.
void cut_journal(const std::filesystem::path& path, int64_t step);

}  // namespace packhorse
