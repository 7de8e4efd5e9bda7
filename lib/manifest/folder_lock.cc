#include "manifest/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "base/text.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr double kPatienceSeconds = 30;  // for an owner that is just ending
constexpr auto kPause = std::chrono::milliseconds(100);

struct Owner {
  std::string stage, since, slurm_job;
  std::vector<ProcessId> processes;  // the first is the one that locked the folder
  ProcessId launcher;
};

std::string slurm_job() {
  const char* job = std::getenv("SLURM_JOB_ID");
  return job != nullptr ? job : "";
}

std::string text_of(const Owner& owner) {
  Json processes = Json::array();
  for (const ProcessId& process : owner.processes) processes.push_back(to_json(process));
  const Json json = {{"stage", owner.stage},
                     {"since", owner.since},
                     {"slurm_job", owner.slurm_job},
                     {"launcher", to_json(owner.launcher)},
                     {"processes", std::move(processes)}};
  return json.dump(2) + "\n";
}

/// Nothing if the file is gone, which is how an owner ends.
std::optional<Owner> read_owner(const fs::path& path) {
  try {
    const Json json = read_json(path);
    const std::string where = path.string();
    Owner owner{json_member<std::string>(json, "stage", where),
                json_member<std::string>(json, "since", where),
                json_member<std::string>(json, "slurm_job", where),
                {},
                process_from(json_member<Json>(json, "launcher", where), where)};
    for (const Json& process : json.at("processes")) owner.processes.push_back(process_from(process, where));
    return owner;
  } catch (const std::exception&) {
    if (!fs::exists(path)) return std::nullopt;
    throw;
  }
}

/// Whether a job of SLURM is over; false if nobody here knows.
bool job_is_over(const std::string& job) {
  if (job.empty() || !std::all_of(job.begin(), job.end(), [](unsigned char c) { return c >= '0' && c <= '9'; }))
    return false;
  if (job == slurm_job()) return true;  // it was queued again: what ran before has ended
  const std::string command = "squeue --noheader --format=%T --jobs=" + job + " 2>&1";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (!pipe) return false;
  std::string text;
  for (std::array<char, 256> part{}; std::fgets(part.data(), part.size(), pipe.get()) != nullptr;) text += part.data();
  return text.empty() || text.find("Invalid job id") != std::string::npos;
}

bool same_file(int fd, const fs::path& path) {
  struct stat of_fd = {}, of_path = {};
  return fstat(fd, &of_fd) == 0 && stat(path.c_str(), &of_path) == 0 && of_fd.st_dev == of_path.st_dev &&
         of_fd.st_ino == of_path.st_ino;
}

enum class State { dead, ending, alive };

/// `held`: whether the kernel says that somebody holds flock() on the file.
State state_of(const Owner& owner, bool held, bool told) {
  const ProcessId here = this_process();
  const auto lives = [](const ProcessId& process) { return runs(process) == std::optional(true); };
  const bool ranks_live = std::any_of(owner.processes.begin(), owner.processes.end(), lives);
  const bool orphans = owner.processes.size() > 1 && runs(owner.launcher) == std::optional(false);
  // Held, but not by the owner: somebody is just taking the folder over.
  if (held && runs(owner.processes.front()) == std::optional(false)) return State::ending;
  if (held || ranks_live) return orphans ? State::ending : State::alive;
  // Nobody holds it. On the same kernel that says that the owner is dead, whatever its container.
  const ProcessId& first = owner.processes.front();
  if (first.boot == here.boot && (told || runs(first) == std::optional(false))) return State::dead;
  if (runs(first) == std::optional(false)) return State::dead;
  return job_is_over(owner.slurm_job) ? State::dead : State::alive;
}

/// Removes what processes left that were killed while they asked for the folder. `mine` is this one's.
void remove_remains(const fs::path& lock, const fs::path& mine) {
  const std::string prefix = lock.filename().string() + "-";
  for (const auto& entry : fs::directory_iterator(lock.parent_path())) {
    if (!entry.path().filename().string().starts_with(prefix) || entry.path() == mine) continue;
    std::error_code gone;
    try {
      const auto asked = read_owner(entry.path());
      if (asked && runs(asked->processes.front()) == std::optional(false)) fs::remove(entry.path(), gone);
    } catch (const Error&) {  // half a file: of a process that is just writing it, or of one that was killed then
      const auto age = fs::file_time_type::clock::now() - fs::last_write_time(entry.path(), gone);
      if (!gone && age > std::chrono::minutes(1)) fs::remove(entry.path(), gone);
    }
  }
}

[[noreturn]] void throw_busy(const Owner& owner, const fs::path& path) {
  const ProcessId& first = owner.processes.front();
  const std::string job = owner.slurm_job.empty() ? "" : ", SLURM job " + owner.slurm_job;
  const bool sure = runs(first).has_value();
  throw Error(
      {"another packhorse-" + owner.stage + " is at work in this folder: process " + std::to_string(first.pid) +
           " on " + first.host + job + ", since " + owner.since,
       path.parent_path().string(),
       sure ? "wait until it ends, or choose another folder with --out"
            : "wait until it ends, or choose another --out; if you know that it has ended, remove " + path.string()},
      kExitBusy);
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder, const std::string& stage, std::vector<ProcessId> ranks)
    : path_(folder / ".owner") {
  const ProcessId self = this_process();
  ranks.erase(std::remove(ranks.begin(), ranks.end(), self), ranks.end());
  ranks.insert(ranks.begin(), self);
  const Owner own{stage, utc_text(std::chrono::system_clock::now()), slurm_job(), std::move(ranks), parent_process()};
  const fs::path mine = path_.string() + "-" + self.host + "-" + std::to_string(self.pid);
  write_text(mine, text_of(own));
  file_ = Descriptor(open(mine.c_str(), O_RDONLY | O_CLOEXEC));
  if (file_.get() < 0) throw_errno("cannot open", mine.string());
  // Where flock() does not work, the processes themselves are asked after.
  const bool told = flock(file_.get(), LOCK_EX | LOCK_NB) == 0;
  const auto remove_mine = [](const fs::path* path) {
    std::error_code ignored;
    fs::remove(*path, ignored);
  };
  const std::unique_ptr<const fs::path, decltype(remove_mine)> cleaner(&mine, remove_mine);

  const Stopwatch clock;
  while (link(mine.c_str(), path_.c_str()) != 0) {
    if (errno != EEXIST) throw_errno("cannot lock the folder", path_.parent_path().string());
    const Descriptor theirs(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    std::optional<Owner> owner;
    try {
      owner = read_owner(path_);
    } catch (const Error&) {  // one owner ended and the next one came while it was read, or it is damaged
      if (clock.seconds() > kPatienceSeconds) throw;
      std::this_thread::sleep_for(kPause);
      continue;
    }
    if (theirs.get() < 0 || !owner) continue;  // it has just ended
    const bool held = flock(theirs.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    const State state = state_of(*owner, held, told);
    if (state == State::dead && same_file(theirs.get(), path_)) {
      log_info("the packhorse-" + owner->stage + " that was at work in " + path_.parent_path().string() + " (process " +
               std::to_string(owner->processes.front().pid) + " on " + owner->processes.front().host + ", since " +
               owner->since + ") ended without finishing: takes the folder over");
      unlink(path_.c_str());
      continue;
    }
    if (state == State::alive || (state == State::ending && clock.seconds() > kPatienceSeconds)) {
      file_ = {};
      throw_busy(*owner, path_);
    }
    std::this_thread::sleep_for(kPause);
  }
  remove_remains(path_, mine);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : path_(std::move(other.path_)), file_(std::move(other.file_)) {}
FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  if (this != &other) {
    release();
    path_ = std::move(other.path_);
    file_ = std::move(other.file_);
  }
  return *this;
}
FolderLock::~FolderLock() { release(); }

void FolderLock::release() {
  if (!held()) return;
  if (same_file(file_.get(), path_)) unlink(path_.c_str());
  file_ = {};
}

}  // namespace packhorse
