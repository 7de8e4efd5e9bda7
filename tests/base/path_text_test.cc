#include "base/path_text.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/philox.h"

namespace packhorse {
namespace {

TEST(PathText, LeavesUsualNamesAsTheyAre) {
  for (const char* name : {"a/b c.jpg", "ünï/日本.png", "100%", "50% of all.jpg", "%zz", "", "\xf0\x9f\x90\xb4"})
    EXPECT_EQ(text_of_path(name), name);
}

TEST(PathText, WritesOtherBytesInHex) {
  EXPECT_EQ(text_of_path("bad\xff\xfe.jpg"), "bad%FF%FE.jpg");
  EXPECT_EQ(text_of_path("a%20b"), "a%2520b");
  EXPECT_EQ(text_of_path("\xe4\xf6"), "%E4%F6") << "Latin-1";
}

TEST(PathText, GivesAnyNameBack) {
  RandomStream random(5, RandomUse::test, 0, 0);
  for (int i = 0; i < 20'000; ++i) {
    std::string name;
    for (uint64_t bytes = 1 + random.below(6); bytes > 0; --bytes) {
      // Half of them from what the grammar is about.
      const std::string near = "%20aF\xc3\xa4\xed\xa0\x80\xf4\x90";
      name += random.below(2) == 0 ? near[random.below(near.size())] : static_cast<char>(1 + random.below(255));
    }
    const std::string text = text_of_path(name);
    ASSERT_EQ(path_of_text(text).native(), name) << testing::PrintToString(name);
    ASSERT_TRUE(is_utf8(text));
    ASSERT_NO_THROW(static_cast<void>(Json(text).dump())) << "JSON takes it for text, too";
  }
}

TEST(PathText, KnowsUtf8AsJsonDoes) {
  RandomStream random(6, RandomUse::test, 0, 0);
  int valid = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string text;
    for (uint64_t bytes = 1 + random.below(4); bytes > 0; --bytes) text += static_cast<char>(0x40 + random.below(0xc0));
    bool json = true;
    try {
      static_cast<void>(Json(text).dump());
    } catch (const Json::exception&) {
      json = false;
    }
    ASSERT_EQ(is_utf8(text), json) << testing::PrintToString(text);
    valid += json ? 1 : 0;
  }
  EXPECT_GT(valid, 1000);
}

}  // namespace
}  // namespace packhorse
