#include "manifest/output_folder.h"

#include <chrono>
#include <cstdio>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/path_text.h"
#include "base/stopwatch.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFinished = ".finished";
constexpr const char* kWork = ".work-";
constexpr const char* kOutdated = ".outdated.json";  // in `.finished`: what the old result had and the new one has not
constexpr const char* kManifest = "manifest.json";
constexpr double kPatienceSeconds = 60;  // for the owner to complete its commit
constexpr auto kPause = std::chrono::milliseconds(50);

void remove_tree(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code && code != std::errc::no_such_file_or_directory)
    throw Error({"cannot remove what an earlier run left (" + code.message() + ")", path.string(), ""});
}

void move_over(const fs::path& from, const fs::path& to) {
  if (fs::is_directory(from)) remove_tree(to);
  if (rename(from.c_str(), to.c_str()) != 0) throw_errno("cannot move a finished result into place", to.string());
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  return entries;
}

/// By the owner of the folder. May be cut short anywhere, and then begun again. The old manifest stays until the new
/// one takes its place; whoever reads it looks for `.finished` before.
void settle(const fs::path& folder) {
  const fs::path finished = folder / kFinished;
  if (!fs::exists(finished)) return;
  if (fs::exists(finished / kManifest)) {
    if (fs::exists(finished / kOutdated)) {
      for (const Json& name : read_json(finished / kOutdated))
        remove_tree(folder / path_of_text(name.get<std::string>()));
      fs::remove(finished / kOutdated);
    }
    for (const fs::path& entry : entries_of(finished))
      if (entry.filename() != kManifest) move_over(entry, folder / entry.filename());
    sync_path(folder);
    move_over(finished / kManifest, folder / kManifest);
    sync_path(folder);
  }
  remove_tree(finished);
}

}  // namespace

OutputFolder::OutputFolder(fs::path folder, const std::string& stage, std::vector<ProcessId> ranks)
    : folder_(std::move(folder)) {
  make_folder(folder_);
  lock_ = FolderLock(folder_, stage, std::move(ranks));
  settle(folder_);
  for (const fs::path& entry : entries_of(folder_))
    if (entry.filename().string().starts_with(kWork)) remove_tree(entry);
  const ProcessId self = this_process();
  work_ = folder_ / (kWork + self.host + "-" + std::to_string(self.pid));
  on_signal_ = std::make_unique<EndOnSignal>([this] { give_back(); });
}

OutputFolder::~OutputFolder() {
  on_signal_.reset();
  give_back();
}

void OutputFolder::give_back() {
  std::error_code ignored;  // the next owner removes what is left
  if (!kept_) fs::remove_all(work_, ignored);
  lock_ = {};
  fs::remove(folder_, ignored);  // only if it is empty: nothing came of it
}

const fs::path& OutputFolder::work() {
  if (!kept_) make_folder(work_);
  return work_;
}

void OutputFolder::work_in(const fs::path& kept) {
  on_signal_.reset();
  work_ = kept;
  kept_ = true;
  make_folder(work_);
}

void OutputFolder::commit(const std::vector<fs::path>& outdated) {
  on_signal_.reset();
  if (work_ == folder_) return;
  Json names = Json::array();
  for (const fs::path& path : outdated) names.push_back(text_of_path(fs::relative(path, folder_)));
  write_text(work_ / kOutdated, names.dump());
  for (const fs::path& entry : entries_of(work_)) sync_path(entry);
  rename_durably(work_, folder_ / kFinished);
  settle(folder_);
}

void complete_commit(const fs::path& folder) {
  const Stopwatch clock;
  while (fs::exists(folder / kFinished)) {
    try {
      const FolderLock lock(folder, "reader", {});
      settle(folder);
    } catch (const Error& error) {
      // The owner is at it, or another reader.
      if (error.exit_code() != kExitBusy || clock.seconds() > kPatienceSeconds) throw;
      std::this_thread::sleep_for(kPause);
    }
  }
}

}  // namespace packhorse
