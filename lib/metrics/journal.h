// The training journal: `metrics.jsonl`, append-only lines that survive kill -9.
//
// Each line is one JSON object with "kind": "run" (a start or resume: settings, ranks, host), "step", "epoch",
// "validation", "stop". A line cut short by a kill is dropped on reading, and only at the end; anything else that does
// not parse is damage. A resumed run first cuts away what lies after its checkpoint's step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/json.h"

namespace packhorse {

class Journal {
 public:
  /// Opens for appending; makes the file where there is none.
  explicit Journal(const std::filesystem::path& path);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  /// One write(2) of one whole line.
  void append(const Json& line);
  /// Flushes to the disk.
  void sync();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

/// All whole lines, in order.
std::vector<Json> read_journal(const std::filesystem::path& path);

/// Rewrites the journal (beside, renamed) without the "step", "epoch", "validation" and "stop" lines beyond `step`.
void cut_journal(const std::filesystem::path& path, int64_t step);

}  // namespace packhorse
