#include "base/log.h"

#include <filesystem>
#include <system_error>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/run.h"

namespace packhorse {
namespace {

std::string logged(const std::string& message) {
  testing::internal::CaptureStderr();
  log_error(message);
  return testing::internal::GetCapturedStderr();
}

TEST(Log, ControlCharactersOfNamesReachNoTerminal) {
  EXPECT_EQ(logged("a\x1b[31mb\rc\x7f"), "error: a\\x1b[31mb\\x0dc\\x7f\n");
  EXPECT_EQ(logged("two\n  lines\tand caf\xc3\xa9"), "error: two\n  lines\tand caf\xc3\xa9\n");
}

TEST(Run, AnErrorOfTheFileSystemIsSaidInOurWords) {
  testing::internal::CaptureStderr();
  const int code = run_stage([]() -> int {
    throw std::filesystem::filesystem_error("status", "/some/where",
                                            std::make_error_code(std::errc::filename_too_long));
  });
  EXPECT_EQ(code, kExitFailure);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "error: File name too long: /some/where\n  try: check the path, and who may use it\n");
}

}  // namespace
}  // namespace packhorse
