#include "classes/wordnet.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;

const WordNet& wordnet() {
  static const WordNet instance;
  return instance;
}

TEST(WordNet, FindsNamesAndHypernymsOfASynset) {
  const auto tench = wordnet().find("n01440764");
  ASSERT_TRUE(tench);
  EXPECT_EQ(tench->names, "tench, Tinca tinca");
  ASSERT_EQ(tench->hypernyms.size(), 1u);
  EXPECT_EQ(wordnet().find(tench->hypernyms[0])->names, "cyprinid, cyprinid fish");
  const auto shark = wordnet().find("n01484850");
  EXPECT_EQ(shark->names, "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias");
}

TEST(WordNet, FindsNothingForABadId) {
  for (const char* text :
       {"", "n", "cat", "n0144076", "n014407640", "n01440765", "v01440764", "n99999999", "n00000000", "n0144076x"}) {
    EXPECT_FALSE(wordnet().find(text)) << text;
  }
  EXPECT_TRUE(WordNet::is_id("n99999999"));
  EXPECT_FALSE(WordNet::is_id("n9999999x"));
}

TEST(WordNet, KnowsWhichSynsetsAreUnderAnother) {
  EXPECT_TRUE(wordnet().is_under("n03595614", "n04197391"));   // a T-shirt is a shirt
  EXPECT_FALSE(wordnet().is_under("n04197391", "n03595614"));  // but not the reverse
  EXPECT_TRUE(wordnet().is_under("n04197391", "n04197391"));
  EXPECT_TRUE(wordnet().is_under("n02084071", "n00015388"));  // a dog is an animal, through each of its two hypernyms
  EXPECT_EQ(wordnet().find("n02084071")->hypernyms.size(), 2u);
  EXPECT_FALSE(wordnet().is_under("not an id", "n00001740"));
}

TEST(WordNet, AncestorsEndAtEntityAndAreUnique) {
  auto above = wordnet().ancestors("n02084071");
  ASSERT_FALSE(above.empty());
  EXPECT_EQ(above.back(), "n00001740");
  std::sort(above.begin(), above.end());
  EXPECT_EQ(std::adjacent_find(above.begin(), above.end()), above.end());
}

TEST(WordNet, InstancesCountAsKinds) {
  const auto mars = wordnet().find("n09352849");  // the planet, an instance
  ASSERT_TRUE(mars);
  EXPECT_FALSE(mars->hypernyms.empty());
}

TEST(WordNet, IsWhereItsOwnVariableSays) {
  const std::filesystem::path usual = wordnet_nouns();
  ASSERT_EQ(setenv("WNSEARCHDIR", "/data/word net", 1), 0);
  const std::filesystem::path named = wordnet_nouns();
  unsetenv("WNSEARCHDIR");
  EXPECT_EQ(named, "/data/word net/data.noun");
  EXPECT_TRUE(std::filesystem::exists(usual)) << usual;
}

TEST(WordNet, RefusesAnotherFile) {
  const TempDir folder;
  EXPECT_THROW(WordNet(folder.path() / "nothing"), Error);
  write_text(folder.path() / "data.noun", "  1 This is not the file\n");
  EXPECT_THROW(WordNet(folder.path() / "data.noun"), DamageError);
}

}  // namespace
}  // namespace packhorse
