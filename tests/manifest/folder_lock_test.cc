// Who may write to a folder: one stage at a time, and nobody's death keeps it.
#include "manifest/folder_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

class FolderLocks : public ::testing::Test {
 protected:
  void TearDown() override {
    unsetenv("SLURM_JOB_ID");
    setenv("PATH", path_.c_str(), 1);
  }

  /// "" if the folder could be locked, else the message.
  std::string try_lock() const {
    try {
      const FolderLock lock(folder_.path(), "pack", {});
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), kExitBusy);
      return error.what();
    }
  }

  /// Runs in a process of its own, and returns its number.
  static pid_t start(const std::function<void()>& work) {
    const pid_t child = fork();
    if (child != 0) return child;
    work();
    _exit(0);
  }
  static void end(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  void wait_for_owner() const {
    while (!fs::exists(folder_ / ".owner")) usleep(1000);
  }

  /// An owner that some other machine wrote down.
  void write_owner(const ProcessId& process, const std::string& slurm_job = "") const {
    const Json json = {{"stage", "pack"},
                       {"since", "2026-01-31T12:00:00Z"},
                       {"slurm_job", slurm_job},
                       {"launcher", to_json(process)},
                       {"processes", Json::array({to_json(process)})}};
    write_text(folder_ / ".owner", json.dump());
  }
  static ProcessId elsewhere() { return {"another", "another machine", "another boot", "a space", 4711, 1}; }

  /// A squeue that says this about every job.
  void squeue_says(const std::string& script) const {
    make_folder(folder_ / "tools");
    write_text(folder_ / "tools/squeue", "#!/bin/sh\n" + script + "\n");
    fs::permissions(folder_ / "tools/squeue", fs::perms(0755));
    setenv("PATH", ((folder_ / "tools").string() + ":" + path_).c_str(), 1);
  }

  const test::TempDir folder_;
  const std::string path_ = std::getenv("PATH");
};

TEST_F(FolderLocks, HaveOneOwnerAndNameIt) {
  {
    const FolderLock lock(folder_.path(), "train", {});
    const std::string message = try_lock();
    EXPECT_NE(message.find("another packhorse-train is at work in this folder: process " + std::to_string(getpid())),
              std::string::npos)
        << message;
    EXPECT_NE(message.find("since 20"), std::string::npos) << message;
  }
  EXPECT_EQ(try_lock(), "");
  EXPECT_TRUE(fs::is_empty(folder_.path())) << "something stays behind";
}

TEST_F(FolderLocks, ADeadOwnerIsTakenOverAndALiveOneIsNot) {
  const pid_t child = start([&] {
    const FolderLock lock(folder_.path(), "pack", {});
    sleep(600);
  });
  wait_for_owner();
  EXPECT_NE(try_lock(), "");
  kill(child, SIGSTOP);  // alive, but answers nothing
  EXPECT_NE(try_lock(), "");
  end(child);
  ASSERT_TRUE(fs::exists(folder_ / ".owner"));
  EXPECT_EQ(try_lock(), "");
}

// A container counts processes anew: a number says nothing about another one. The kernel is the same, and knows.
TEST_F(FolderLocks, AnOwnerInAnotherContainerOfThisMachineIsAskedAfterInTheKernel) {
  ProcessId inside = this_process();
  inside.space = "pid:[1]";
  write_owner(inside);
  EXPECT_EQ(try_lock(), "") << "nobody holds it";
  write_owner(inside);
  const Descriptor held(open((folder_ / ".owner").c_str(), O_RDONLY));
  ASSERT_EQ(flock(held.get(), LOCK_EX), 0);
  EXPECT_NE(try_lock(), "") << "somebody holds it";
}

TEST_F(FolderLocks, WhatKilledProcessesLeftIsRemoved) {
  ProcessId killed = this_process();
  killed.started -= 1;  // another process had this number before
  write_owner(killed);
  fs::rename(folder_ / ".owner", folder_ / ".owner-host-1");
  write_owner(elsewhere());
  fs::rename(folder_ / ".owner", folder_ / ".owner-another-2");
  EXPECT_EQ(try_lock(), "");
  EXPECT_FALSE(fs::exists(folder_ / ".owner-host-1"));
  EXPECT_TRUE(fs::exists(folder_ / ".owner-another-2")) << "nobody here knows whether it still runs";
}

TEST_F(FolderLocks, AnOwnerOnAnotherMachineIsTakenToBeAlive) {
  write_owner(elsewhere());
  const std::string message = try_lock();
  EXPECT_NE(message.find("process 4711 on another"), std::string::npos) << message;
  EXPECT_NE(message.find("if you know that it has ended, remove " + (folder_ / ".owner").string()), std::string::npos)
      << message;
}

TEST_F(FolderLocks, TheOwnerIsDeadIfItsMachineHasStartedAgain) {
  ProcessId before = this_process();
  if (before.machine.empty()) GTEST_SKIP() << "this machine has no /etc/machine-id";
  before.boot = "the boot before";
  write_owner(before);
  EXPECT_EQ(try_lock(), "");
}

TEST_F(FolderLocks, TheOwnerIsDeadIfItsJobWasQueuedAgain) {
  write_owner(elsewhere(), "77");
  setenv("SLURM_JOB_ID", "78", 1);
  squeue_says("echo RUNNING");
  EXPECT_NE(try_lock().find("SLURM job 77"), std::string::npos);
  setenv("SLURM_JOB_ID", "77", 1);
  EXPECT_EQ(try_lock(), "");
}

TEST_F(FolderLocks, SlurmKnowsWhetherAJobOfAnotherMachineIsOver) {
  const std::vector<std::pair<std::string, bool>> answers = {
      {"echo RUNNING", false},
      {"echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1", false},
      {"exit 0", true},
      {"echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", true}};
  for (const auto& [answer, over] : answers) {
    squeue_says(answer);
    write_owner(elsewhere(), "77");
    EXPECT_EQ(try_lock().empty(), over) << answer;
  }
}

// mpirun was killed; its ranks live on for a moment. The next run waits for them.
TEST_F(FolderLocks, RanksThatAreEndingAreWaitedFor) {
  const pid_t rank = start([] { usleep(700'000); });
  const pid_t launcher = start([&] {  // it ends at once, and its child owns the folder without it
    if (fork() != 0) _exit(0);
    usleep(50'000);
    ProcessId other = this_process();
    other.pid = rank;
    const FolderLock lock(folder_.path(), "train", {this_process(), other});
    usleep(500'000);
    _exit(0);  // without giving it back
  });
  waitpid(launcher, nullptr, 0);
  wait_for_owner();
  Json owner = read_json(folder_ / ".owner");
  owner["launcher"]["pid"] = launcher;  // the real parent: it has ended
  write_text(folder_ / "owner", owner.dump());
  // In place: the lock belongs to the file.
  std::ofstream(folder_ / ".owner") << owner.dump();
  EXPECT_EQ(try_lock(), "");
  waitpid(rank, nullptr, 0);
}

// Many at once, and owners that die: never two owners.
TEST_F(FolderLocks, NeverHaveTwoOwners) {
  constexpr int kProcesses = 24;
  const fs::path marker = folder_ / "marker";
  make_folder(folder_ / "shared");
  for (int round = 0; round < 3; ++round) {
    std::vector<pid_t> children;
    children.reserve(kProcesses);
    for (int i = 0; i < kProcesses; ++i) {
      children.push_back(start([&, i] {
        try {
          const FolderLock lock(folder_ / "shared", "pack", {});
          const int fd = open(marker.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0666);
          if (fd < 0) _exit(3);  // another one is here
          usleep(2000);
          unlink(marker.c_str());
          if (i % 3 == 0) _exit(0);  // dies as the owner
        } catch (const Error& error) {
          _exit(error.exit_code() == kExitBusy ? 0 : 4);
        }
      }));
    }
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      EXPECT_TRUE(WIFEXITED(status));
      EXPECT_EQ(WEXITSTATUS(status), 0);
    }
  }
}

}  // namespace
}  // namespace packhorse
