// The training journal: `metrics.jsonl`, append-only lines that survive kill -9.
//
// Each line is one JSON object with "kind": "run" (a start or resume: settings, ranks, host), "step", "epoch",
// "validation", "stop"; all but "run" carry the "step" they belong to. A line cut short by a kill (one without its line
// end) is dropped on reading, and only at the end; anything else that does not parse is damage. A resumed run first
// cuts away what lies after its checkpoint's step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/files.h"
#include "base/json.h"

namespace packhorse {

class Journal {
 public:
  /// Opens for appending; makes the file where there is none; takes away a last line that was cut short.
  explicit Journal(const std::filesystem::path& path);
  /// One write(2) of one whole line. Where that fails (a full disk) nothing of the line remains. A number that is not
  /// finite is written as null, as JSON has no word for it.
  void append(const Json& line);
  /// Flushes to the disk.
  void sync();

 private:
  std::filesystem::path path_;
  Descriptor file_;
};

/// All whole lines, in order.
std::vector<Json> read_journal(const std::filesystem::path& path);

/// Rewrites the journal (beside, renamed) without the "step", "epoch", "validation" and "stop" lines beyond `step`.
void cut_journal(const std::filesystem::path& path, int64_t step);

}  // namespace packhorse
