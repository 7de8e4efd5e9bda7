// What the executables link: nothing that they do not use, and none of the large libraries if they need them not.
#include <gtest/gtest.h>

#include "support/subprocess.h"

namespace packhorse::test {
namespace {

std::string libraries_of(const std::string& stage) {
  const RunResult result = run_command({"readelf", "-d", built_executable("packhorse-" + stage).string()});
  EXPECT_EQ(result.exit_code, 0) << result.all();
  return result.out;
}

TEST(Links, NothingThatIsNotUsed) {
  for (const char* stage : {"list", "pack", "verify", "train", "evaluate", "export", "predict", "demo-data"}) {
    // It prints "Unused direct dependencies:" and the libraries, and ends with code 1, if there are any.
    const RunResult result = run_command({"ldd", "-u", built_executable(std::string("packhorse-") + stage).string()});
    EXPECT_EQ(result.exit_code, 0) << stage << ": " << result.all();
  }
}

TEST(Links, PackingAndExportingNeedNoNetworkLibrary) {
  for (const char* stage : {"list", "pack", "verify", "export"}) {
    const std::string libraries = libraries_of(stage);
    EXPECT_EQ(libraries.find("libdnnl"), std::string::npos) << stage;
    EXPECT_EQ(libraries.find("libgomp"), std::string::npos) << stage;
  }
  for (const char* stage : {"list", "export"})
    EXPECT_EQ(libraries_of(stage).find("libmpi"), std::string::npos) << stage;
}

}  // namespace
}  // namespace packhorse::test
