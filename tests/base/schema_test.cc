#include "base/schema.h"

#include <algorithm>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/version.h"

namespace packhorse {
namespace {

std::string refusal(const std::string& found) {
  try {
    check_schema(found, "packhorse/thing/12", "a thing", "a.json", "make it again");
  } catch (const DamageError& error) {
    return std::string("damage: ") + error.what();
  } catch (const Error& error) {
    return error.what();
  }
  return "read";
}

TEST(Schema, TheSameIsRead) { EXPECT_EQ(refusal("packhorse/thing/12"), "read"); }

TEST(Schema, OlderAndNewerAreRefusedByNumberAndVersion) {
  for (const auto& [found, age] : {std::pair{"packhorse/thing/9", "an older"}, {"packhorse/thing/13", "a newer"}}) {
    const std::string text = refusal(found);
    for (const std::string& word :
         {std::string(found), std::string(age), std::string("packhorse/thing/12"), std::string(kVersion),
          std::string("a.json"), std::string("make it again"), std::string("CHANGELOG.md")}) {
      EXPECT_NE(text.find(word), std::string::npos) << word << " in " << text;
    }
    EXPECT_FALSE(text.starts_with("damage")) << "an intact file of another version is no damage";
  }
}

TEST(Schema, AnythingElseIsNoSuchFile) {
  for (const char* found : {"", "packhorse/other/12", "packhorse/thing/", "packhorse/thing/x", "packhorse/thing/12 ",
                            "packhorse/thing/99999999999999999999", "packhorse/thing/0"}) {
    EXPECT_TRUE(refusal(found).starts_with("damage: not a thing")) << found << ": " << refusal(found);
  }
}

TEST(Version, IsTheFiles) {
  std::ifstream file(std::string(PACKHORSE_ROOT) + "/VERSION");
  std::string version;
  file >> version;
  EXPECT_EQ(version, kVersion);
  EXPECT_EQ(std::count(version.begin(), version.end(), '.'), 2) << "MAJOR.MINOR.PATCH";
}

}  // namespace
}  // namespace packhorse
