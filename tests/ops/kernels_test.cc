// Which instruction sets this binary's kernels are compiled for, and which one this machine runs.
#include "ops/cpu/kernels.h"

#include <filesystem>
#include <regex>
#include <string>

#include <gtest/gtest.h>

#include "base/clones.h"
#include "base/files.h"
#include "support/subprocess.h"

namespace packhorse {
namespace {

// A kernel without clones would run everywhere, and slowly: nothing else would show that it lost them.
TEST(Kernels, EachIsCompiledForSeveralInstructionSets) {
  if (cpu::kernel_instructions() == "as compiled")
    GTEST_SKIP() << "this compiler, or this machine, has one instruction set only (base/clones.h)";
  const std::string header = read_text(test::source_path("lib/ops/cpu/kernels.h"));
  const auto result = test::run_command({"readelf", "-sW", std::filesystem::read_symlink("/proc/self/exe").string()});
  ASSERT_EQ(result.exit_code, 0) << result.all();
  const std::regex declaration(R"(\n(?:void|float|double) (\w+)\()");
  int found = 0;
  for (auto at = std::sregex_iterator(header.begin(), header.end(), declaration); at != std::sregex_iterator(); ++at) {
    const std::string name = (*at)[1];
    // An indirect function: the loader calls its resolver, and takes what that returns.
    const std::regex symbol("IFUNC .* _ZN9packhorse3cpu" + std::to_string(name.size()) + name + "E");
    EXPECT_TRUE(std::regex_search(result.out, symbol)) << name << " has one version only";
    ++found;
  }
  EXPECT_GE(found, 17) << "the header is not read as it should be";
}

TEST(Kernels, RunOnTheBestInstructionsOfThisMachine) {
#if PACKHORSE_HAS_CLONES
  // What the levels add to one another, as far as processors differ in it (System V ABI, "Micro-Architecture Levels").
  __builtin_cpu_init();
  const bool good = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool best = good && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
  EXPECT_EQ(cpu::kernel_instructions(), best ? "x86-64-v4" : good ? "x86-64-v3" : "x86-64");
#else
  EXPECT_EQ(cpu::kernel_instructions(), "as compiled");
#endif
}

}  // namespace
}  // namespace packhorse
