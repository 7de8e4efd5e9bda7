#include "ops/choices.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

const Choices kOne = {{choice_key("NVIDIA H200", "cuDNN 9.19.0", "forward f16 n8"), "eng1_k2=0"}};
const Choices kOther = {{choice_key("NVIDIA H100", "cuDNN 9.19.0", "forward f16 n8"), ""}};

TEST(Choices, AreKeptBesideThoseThatAreThere) {
  const test::TempDir folder;
  const auto path = folder / "packhorse/choices.json";
  EXPECT_EQ(read_choices(path), Choices{});
  keep_choices(path, kOne);
  EXPECT_EQ(read_choices(path), kOne);
  keep_choices(path, kOther);
  Choices both = kOne;
  both.insert(kOther.begin(), kOther.end());
  EXPECT_EQ(read_choices(path), both);
}

TEST(Choices, ADamagedFileIsNoneWithAWarningAndIsWrittenAnew) {
  const test::TempDir folder;
  for (const char* damaged : {"{\"a\": 3}", "{\"a\": \"b\"", "[]", ""}) {
    write_text(folder / "choices.json", damaged);
    testing::internal::CaptureStderr();
    EXPECT_EQ(read_choices(folder / "choices.json"), Choices{}) << damaged;
    EXPECT_NE(testing::internal::GetCapturedStderr().find("measured again"), std::string::npos) << damaged;
    testing::internal::CaptureStderr();
    keep_choices(folder / "choices.json", kOne);
    testing::internal::GetCapturedStderr();
    EXPECT_EQ(read_choices(folder / "choices.json"), kOne) << damaged;
  }
}

TEST(Choices, WhereNothingCanBeWrittenARunGoesOn) {
  testing::internal::CaptureStderr();
  keep_choices("/proc/packhorse/choices.json", kOne);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("the next run measures again"), std::string::npos);
  keep_choices({}, kOne);
}

}  // namespace
}  // namespace packhorse
