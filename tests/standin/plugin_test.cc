// The plug-in as the product has it: opened by a program without CUDA, with the stand-in where the loader finds the
// real library; and the names that both libraries have.
#include <array>
#include <cstdio>

#include "standin/device_test.h"

namespace packhorse::standin {
namespace {

/// What a command prints.
std::string output_of(const std::string& command) {
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::string text;
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) text += buffer.data();
  pclose(pipe);
  return text;
}

std::string built(const std::string& name) { return std::string(STANDIN_BUILD) + "/" + name; }

std::string run_plugin(const std::string& variables) {
  return output_of("LD_LIBRARY_PATH=" + built("alone ") + variables + " " + built("open_plugin ") +
                   built("libtest_plugin.so"));
}

TEST(StandinPlugin, RunsInAProgramThatKnowsNoCuda) {
  for (unsigned long long seed = 0; seed < kSeeds; ++seed) {
    EXPECT_EQ(run_plugin("PACKHORSE_STANDIN_SEED=" + std::to_string(seed)), "0\n");
  }
}

TEST(StandinPlugin, FindsNoDeviceWhereThereIsNone) {
  EXPECT_EQ(run_plugin("PACKHORSE_STANDIN_DEVICES=0"), "100\n");
  EXPECT_EQ(run_plugin("PACKHORSE_STANDIN_DEVICES=nodriver"), "35\n");
  EXPECT_EQ(run_plugin("PACKHORSE_STANDIN_MEMORY=100"), "2\n");
  EXPECT_EQ(run_plugin("PACKHORSE_STANDIN_DEVICES=one"),
            "standin: PACKHORSE_STANDIN_DEVICES=one is no number\nAborted\n");
}

TEST(StandinPlugin, TheRealLibrariesHaveAllNames) {
  const std::string printed =
      output_of(std::string(STANDIN_SOURCE) + "/check_symbols.sh " + STANDIN_BUILD + " && echo all is well");
  EXPECT_NE(printed.find("all is well"), std::string::npos) << printed;
}

}  // namespace
}  // namespace packhorse::standin
