// `tests/layers` on small trees: what is sound passes, and each breach is named.
#include <gtest/gtest.h>

#include "base/files.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

class Layers : public ::testing::Test {
 protected:
  /// Two rooms on shelves 0 and 1: `high` includes `low`.
  Layers() {
    table("0 low:", "1 high: low");
    put("lib/low/low.h", "// What is low.\n");
    put("lib/high/high.h", "// What is high.\n#include \"low/low.h\"\n");
  }
  void table(const std::string& first, const std::string& second) {
    put("Makefile", "print-rooms:\n\t@echo \"" + first + "\"\n\t@echo \"" + second + "\"\n");
  }
  void put(const std::string& name, const std::string& text) {
    make_folder((folder_ / name).parent_path());
    write_text(folder_ / name, text);
  }
  RunResult look() { return run_command({source_path("tests/layers").string(), folder_.path().string()}); }
  void expect_breach(const std::string& words) {
    const RunResult result = look();
    EXPECT_EQ(result.exit_code, 1) << result.all();
    EXPECT_NE(result.out.find(words), std::string::npos) << result.all();
  }
  TempDir folder_;
};

TEST_F(Layers, ASoundTreePasses) {
  const RunResult result = look();
  EXPECT_EQ(result.exit_code, 0) << result.all();
}

TEST_F(Layers, AnIncludeThatTheTableDoesNotName) {
  table("0 low:", "1 high:");
  expect_breach("lib/high/high.h includes a file of 'low'");
}

TEST_F(Layers, AnEdgeThatNoFileUses) {
  put("lib/high/high.h", "// What is high.\n");
  expect_breach("USES_high names 'low', but no file of lib/high includes it");
}

TEST_F(Layers, AnEdgeToTheSameShelfOrUpward) {
  table("1 low:", "1 high: low");
  expect_breach("USES_high names 'low', which is not on a lower shelf");
  table("2 low:", "1 high: low");
  expect_breach("not on a lower shelf (2 and 1)");
}

TEST_F(Layers, ARoomOnNoShelf) {
  put("lib/attic/attic.h", "// What is in the attic.\n");
  expect_breach("lib/attic is on no shelf");
}

TEST_F(Layers, HeadersInACircle) {
  put("lib/high/high.h", "// What is high.\n#include \"low/low.h\"\n#include \"high/other.h\"\n");
  put("lib/high/other.h", "// The other.\n#include \"high/high.h\"\n");
  expect_breach("circle");
}

TEST_F(Layers, AVendorsHeaderOutsideItsHome) {
  put("lib/high/high.cc", "#include <mpi.h>\n");
  expect_breach("lib/high/high.cc includes mpi");
}

TEST_F(Layers, AnAddressThatIsFollowedAboveTheBackends) {
  for (const char* line :
       {"const float* p = executor.address().as<const float>();\n", "const std::byte* p = host_pointer(address);\n"}) {
    put("lib/high/high.cc", line);
    expect_breach("lib/high/high.cc follows a device address");
  }
}

TEST_F(Layers, AnOperationWithoutItsTwin) {
  table("0 low:", "1 ops: low");
  put("lib/ops/ops.h", "// Operations.\n#include \"low/low.h\"\n");
  put("lib/ops/reference/add.cc", "#include \"ops/ops.h\"\n");
  expect_breach("lib/ops/reference/add.cc has no twin lib/ops/cpu/add.cc");
}

TEST_F(Layers, AHeaderWithoutAnOpening) {
  put("lib/low/bare.h", "#pragma once\n");
  expect_breach("lib/low/bare.h does not open");
}

}  // namespace
}  // namespace packhorse::test
