// A small tree in which a test runs the project's Makefile and scripts: copies of these, and what the test adds.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse::test {

class SmallTree {
 public:
  SmallTree() {
    for (const char* name :
         {"Makefile", "VERSION", "tests/found", "tests/found-gpu", "tests/needs", "tests/deps", "tests/why"})
      copy(name);
    // An ordinary user runs the scripts in some tests.
    run_command({"chmod", "-R", "a+rwX", folder_.path().string()});
  }

  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }

  /// A file or folder of the project, with its times: what was built stays as new as its sources.
  void copy(const std::string& name) const {
    const RunResult copied =
        run_shell("cp -a --parents " + name + " " + folder_.path().string(), {.folder = source_path("")});
    if (copied.exit_code != 0) throw std::runtime_error("cannot copy " + name + ": " + copied.err);
  }
  void put(const std::string& name, const std::string& text) const {
    make_folder((folder_ / name).parent_path());
    write_text(folder_ / name, text);
  }
  void put_program(const std::string& name, const std::string& text) const {
    put(name, "#!/bin/bash\n" + text);
    std::filesystem::permissions(folder_ / name, std::filesystem::perms(0755));
  }

  /// Runs a command in it as from a shell, not as a part of the make that runs this test.
  RunResult run(const std::vector<std::string>& command, const std::map<std::string, std::string>& env = {}) const {
    return run_command(command, options(env));
  }
  RunOptions options(const std::map<std::string, std::string>& env) const {
    return {.folder = folder_.path(),
            .env = env,
            .unset = {"WHY", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "COLOURS", "LD_LIBRARY_PATH"},
            .timeout_s = 300};
  }

 private:
  TempDir folder_;
};

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace packhorse::test
