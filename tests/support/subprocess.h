// Runs other programs: to their end, or in the background, so that a test can send signals and wait.
//
// Standard output and standard error go to files, never to pipes, so that a child cannot block on a reader. A child
// leads its own process group; the destructor kills a child that still runs, with its whole group.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "support/temp_dir.h"

namespace packhorse::test {

struct RunResult {
  int exit_code = -1;  ///< 128 + signal number if a signal ended it, as in a shell
  std::string out, err;
  std::string all() const { return out + err; }
};

struct RunOptions {
  std::filesystem::path folder{};            ///< working folder; empty: this process's
  std::map<std::string, std::string> env{};  ///< added to this process's environment
  std::vector<std::string> unset{};          ///< removed from the environment
  int timeout_s = 600;                       ///< then wait() kills the whole group and throws a std::runtime_error
};

class Subprocess {
 public:
  explicit Subprocess(const std::vector<std::string>& command, RunOptions options = {});
  ~Subprocess();
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  pid_t pid() const { return pid_; }
  /// To the process itself, or to its whole group.
  void signal(int number) const;
  void signal_group(int number) const;
  bool running();
  /// What it has written so far.
  std::string out() const;
  std::string err() const;
  RunResult wait();

 private:
  std::vector<std::string> command_;
  RunOptions options_;
  TempDir files_;
  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
};

/// Starts it and waits for it.
RunResult run_command(const std::vector<std::string>& command, const RunOptions& options = {});

/// `bash -c script`.
RunResult run_shell(const std::string& script, const RunOptions& options = {});

/// A file of the source tree ("jobs/pack.sbatch"), and an executable of this build ("packhorse-pack").
std::filesystem::path source_path(const std::string& name);
std::filesystem::path built_executable(const std::string& name);

/// The mpirun of the MPI of this build, and what starts so many ranks with it: the first words of a command.
std::string mpirun();
std::vector<std::string> launcher(int ranks);

/// `packhorse-NAME arguments...`, under mpirun if ranks > 0.
std::vector<std::string> stage_command(const std::string& name, const std::vector<std::string>& arguments,
                                       int ranks = 0);

/// Runs a stage to its end.
RunResult run_stage_command(const std::string& name, const std::vector<std::string>& arguments, int ranks = 0,
                            const RunOptions& options = {});

/// Runs this test binary under mpirun: the disabled tests that `filter` names, on each of `ranks` ranks.
RunResult run_ranked_test(const std::string& filter, int ranks, const std::map<std::string, std::string>& env = {});

}  // namespace packhorse::test
