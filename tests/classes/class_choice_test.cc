#include "classes/class_choice.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

using Labels = std::vector<uint32_t>;

/// T-shirt is under shirt; T-shirt, shirt and dress are under clothing; bag is not.
const ClassTable kTable(
    {{"n03595614", "jersey, T-shirt"}, {"n04197391", "shirt"}, {"n03236735", "dress"}, {"n02774152", "bag, handbag"}});

TEST(ListedClasses, ReadsIdsAndTablesAndNamesMissingClasses) {
  const TempDir folder;
  write_text(folder / "ids.txt", "# some classes\nn04197391\r\n\nn99999999\nn03236735 dress, frock\nn04197391\n");
  const ClassChoice ids = listed_classes(kTable, folder / "ids.txt");
  EXPECT_EQ(ids.set.members(), (Labels{1, 2}));
  EXPECT_EQ(ids.missing, std::vector<std::string>{"n99999999"});
  EXPECT_EQ(ids.title, "the 2 classes of ids.txt");

  write_text(folder / "table.tsv", "0\tn02774152\tbag\n1\tn99999999\tnothing\n2\tn03595614\tT-shirt, tee shirt\n");
  const ClassChoice table = listed_classes(kTable, folder / "table.tsv");
  EXPECT_EQ(table.set.members(), (Labels{0, 3}));
  EXPECT_EQ(table.missing, std::vector<std::string>{"n99999999"});

  write_text(folder / "none.txt", "n99999999\n");
  EXPECT_THROW(listed_classes(kTable, folder / "none.txt"), UsageError);
  EXPECT_THROW(listed_classes(kTable, folder / "missing.txt"), Error);
}

TEST(ListedClasses, AnIdMayContainSpacesIfTabsSeparateFields) {
  const ClassTable table({{"hot dog", ""}, {"7", ""}});
  const TempDir folder;
  write_text(folder / "table.tsv", "0\thot dog\tfood\n1\t7\tseven\n");
  EXPECT_EQ(listed_classes(table, folder / "table.tsv").set.members(), (Labels{0, 1}));
}

TEST(ListedClasses, FindsTheClassesOfTheChallengeInAllOfImageNet) {
  const ClassTable all = ClassTable::load(source_path("data_manifests/imagenet-21k.tsv"));
  const ClassChoice challenge = listed_classes(all, source_path("data_manifests/ilsvrc2012.tsv"));
  EXPECT_EQ(all.size(), 21841u);
  EXPECT_EQ(challenge.set.members().size(), 999u);
  EXPECT_EQ(challenge.missing, std::vector<std::string>{"n04399382"});
  const auto map = label_map(ClassTable::load(source_path("data_manifests/ilsvrc2012.tsv")), all);
  EXPECT_EQ(std::count(map.begin(), map.end(), -1), 1);
}

TEST(ClassesUnder, FollowWordNet) {
  EXPECT_EQ(classes_under(kTable, "n04197391").set.members(), (Labels{0, 1}));
  EXPECT_EQ(classes_under(kTable, "n03051540").set.members(), (Labels{0, 1, 2}));  // clothing
  EXPECT_EQ(classes_under(kTable, "n04197391").title, "the 2 classes under n04197391 (shirt)");
  EXPECT_THROW(classes_under(kTable, "n02084071"), UsageError);  // dog
  EXPECT_THROW(classes_under(kTable, "n99999999"), UsageError);
  EXPECT_THROW(classes_under(kTable, "shirt"), UsageError);
}

TEST(LabelMap, MatchesById) {
  const ClassTable other({{"n02774152", ""}, {"elsewhere", ""}, {"n03595614", ""}});
  EXPECT_EQ(label_map(other, kTable), (std::vector<int64_t>{3, -1, 0}));
}

}  // namespace
}  // namespace packhorse::test
