#include "checkpoint/choices.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace packhorse {
namespace {

const std::string kHere = choice_key("cpu", "oneDNN 2.6", "conv 3x3 64 64");
const Json kStored = {{"cpu | oneDNN 2.6 | conv 3x3 64 64", "winograd"}};

/// What stored_choice() gives and what it warns of.
struct Answer {
  explicit Answer(const Json& choices, const std::string& key) {
    testing::internal::CaptureStderr();
    choice = stored_choice(choices, key);
    warning = testing::internal::GetCapturedStderr();
  }
  std::optional<std::string> choice;
  std::string warning;
};

TEST(Choices, TheSameKeyKeepsTheChoice) {
  const Answer answer(kStored, kHere);
  EXPECT_EQ(answer.choice, "winograd");
  EXPECT_EQ(answer.warning, "");
}

TEST(Choices, AnyOtherKeyIsMeasuredAgainWithAWarning) {
  for (const std::string& key :
       {choice_key("NVIDIA H100", "oneDNN 2.6", "conv 3x3 64 64"), choice_key("cpu", "oneDNN 2.7", "conv 3x3 64 64"),
        choice_key("cpu", "oneDNN 2.6", "conv 3x3 64 96")}) {
    const Answer answer(kStored, key);
    EXPECT_EQ(answer.choice, std::nullopt) << key;
    EXPECT_NE(answer.warning.find("warning"), std::string::npos) << answer.warning;
    EXPECT_NE(answer.warning.find(key), std::string::npos) << answer.warning;
    EXPECT_NE(answer.warning.find("bits may differ"), std::string::npos) << answer.warning;
  }
}

TEST(Choices, WithoutAnyChoiceThereIsNothingToWarnOf) {
  const Answer answer(Json::object(), kHere);
  EXPECT_EQ(answer.choice, std::nullopt);
  EXPECT_EQ(answer.warning, "");
}

TEST(Choices, AChoiceThatIsNoTextIsAnError) { EXPECT_THROW(stored_choice({{kHere, 3}}, kHere), Error); }

}  // namespace
}  // namespace packhorse
