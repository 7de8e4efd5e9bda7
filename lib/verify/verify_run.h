// The verify stage: reads again every file that a manifest names, and reports what is damaged. It writes nothing.
//
// Rule: damage is a finding and does not end the run: one bad file does not hide the next.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "manifest/stage_manifest.h"
#include "ranks/world.h"

namespace packhorse {

/// One file to check; a shard together with its index.
struct FileCheck {
  FileEntry file;
  std::optional<FileEntry> index;
  bool bare = false;   ///< a shard without a manifest that says what it must be
  bool input = false;  ///< what the stage read: if it is another one now, the stage is out of date
  uint64_t bytes() const { return file.bytes + (index ? index->bytes : 0); }
};

/// What to verify: a stage's manifest and its files, or a single shard (for example of MXNet) with its index.
struct VerifyJob {
  StageManifest manifest;  ///< empty for a single shard
  std::vector<FileCheck> files;
  bool decode = false;  ///< also decode every image
  bool show = false;    ///< print each record: id, label, bytes and crc32c of the image
  int threads = 1;

  uint64_t bytes() const;
};

/// Reads `path`, a manifest.json or its folder or a .rec, and finds the files that it names. Leaves out a description
/// among the inputs of a manifest: a user may have edited it for another run.
VerifyJob make_verify_job(const std::filesystem::path& path);

struct Findings {
  uint64_t files = 0, bytes = 0, records = 0, unchecked = 0, damages = 0, outdated = 0;
  std::string text;  ///< one line each

  void damage(const std::string& what);
  void out_of_date(const std::string& what);
};

/// Checks the files; each rank checks every size()-th. Rank 0 gets the findings of all ranks. Collective.
Findings run_verify(World& world, const VerifyJob& job);

/// "verified 12 files, 3.1 GB, 1,000 records: all sound".
std::string result_text(const Findings& findings);

}  // namespace packhorse
