#include "support/subprocess.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "base/stopwatch.h"

namespace packhorse::test {
namespace fs = std::filesystem;
namespace {

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void redirect(const char* path, int flags, int fd) {
  const int file = open(path, flags, 0666);
  if (file < 0 || dup2(file, fd) < 0) _exit(126);
  close(file);
}

}  // namespace

Subprocess::Subprocess(const std::vector<std::string>& command, RunOptions options)
    : command_(command), options_(std::move(options)) {
  const std::string out_path = (files_ / "out").string(), err_path = (files_ / "err").string();
  std::vector<char*> arguments;
  arguments.reserve(command_.size() + 1);
  for (std::string& word : command_) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    setpgid(0, 0);
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    redirect(out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(err_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    for (const std::string& name : options_.unset) unsetenv(name.c_str());
    for (const auto& [name, value] : options_.env) setenv(name.c_str(), value.c_str(), 1);
    if (!options_.folder.empty() && chdir(options_.folder.c_str()) != 0) _exit(126);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  setpgid(pid_, pid_);  // in the parent, too: it may signal the group before the child has called setpgid
}

Subprocess::~Subprocess() {
  if (ended_) return;
  signal_group(SIGKILL);
  while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
  }
}

void Subprocess::signal(int number) const { kill(pid_, number); }
void Subprocess::signal_group(int number) const { kill(-pid_, number); }

bool Subprocess::running() {
  if (ended_) return false;
  const pid_t got = waitpid(pid_, &status_, WNOHANG);
  ended_ = got == pid_;
  return !ended_;
}

std::string Subprocess::out() const { return text_of(files_ / "out"); }
std::string Subprocess::err() const { return text_of(files_ / "err"); }

RunResult Subprocess::wait() {
  const Stopwatch clock;
  while (running()) {
    if (clock.seconds() > options_.timeout_s) {
      signal_group(SIGKILL);
      throw std::runtime_error(command_.front() + " did not end within " + std::to_string(options_.timeout_s) + " s\n" +
                               out() + err());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  const int code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  return {code, out(), err()};
}

RunResult run_command(const std::vector<std::string>& command, const RunOptions& options) {
  return Subprocess(command, options).wait();
}

RunResult run_shell(const std::string& script, const RunOptions& options) {
  return run_command({"bash", "-c", script}, options);
}

fs::path source_path(const std::string& name) { return fs::path(PACKHORSE_ROOT) / name; }
// Test binaries lie in tests/, beside bin/: in the build folder, or in a bundle on another machine.
fs::path built_executable(const std::string& name) {
  return fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / name;
}

std::string mpirun() { return PACKHORSE_MPIRUN; }

std::vector<std::string> launcher(int ranks) {
  const std::string count = std::to_string(ranks);
  if (std::string(PACKHORSE_MPI) != "openmpi") return {mpirun(), "-np", count};
  // To run as root (for example in a container), OpenMPI needs two variables; the tests use more ranks than cores on
  // purpose; and PMIx's shared-memory store is disabled, as in the job files.
  return {"env",
          "OMPI_ALLOW_RUN_AS_ROOT=1",
          "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
          "PMIX_MCA_gds=hash",
          mpirun(),
          "--oversubscribe",
          "--bind-to",
          "none",
          "-np",
          count};
}

std::vector<std::string> stage_command(const std::string& name, const std::vector<std::string>& arguments, int ranks) {
  std::vector<std::string> command;
  if (ranks > 0) command = launcher(ranks);
  command.push_back(built_executable("packhorse-" + name).string());
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

RunResult run_stage_command(const std::string& name, const std::vector<std::string>& arguments, int ranks,
                            const RunOptions& options) {
  return run_command(stage_command(name, arguments, ranks), options);
}

RunResult run_ranked_test(const std::string& filter, int ranks, const std::map<std::string, std::string>& env) {
  std::vector<std::string> command = launcher(ranks);
  command.insert(command.end(), {fs::read_symlink("/proc/self/exe").string(), "--gtest_also_run_disabled_tests",
                                 "--gtest_filter=" + filter});
  RunOptions options;
  options.env = env;
  options.timeout_s = 120;
  return run_command(command, options);
}

}  // namespace packhorse::test
