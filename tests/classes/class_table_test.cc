#include "classes/class_table.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;

TEST(ClassTable, SavesAndLoads) {
  const TempDir folder;
  const ClassTable table(std::vector<ClassEntry>{{"n01440764", "tench, Tinca tinca"}, {"cats and dogs", ""}});
  table.save(folder.path() / "classes.tsv");
  EXPECT_EQ(read_text(folder.path() / "classes.tsv"), "0\tn01440764\ttench, Tinca tinca\n1\tcats and dogs\t\n");
  const ClassTable back = ClassTable::load(folder.path() / "classes.tsv");
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back.label_of("cats and dogs"), 1u);
  EXPECT_EQ(back.label_of("tench"), std::nullopt);
  EXPECT_EQ(back.short_name(0), "tench");
  EXPECT_EQ(back.short_name(1), "cats and dogs");
  EXPECT_EQ(back.crc32c(), table.crc32c());
}

TEST(ClassTable, ChecksumCoversIdsInOrderAndNotNames) {
  using Classes = std::vector<ClassEntry>;
  const ClassTable one(Classes{{"a", "x"}, {"b", "y"}}), renamed(Classes{{"a", "z"}, {"b", ""}});
  const ClassTable turned(Classes{{"b", "y"}, {"a", "x"}}), joined(Classes{{"ab", ""}});
  EXPECT_EQ(one.crc32c(), renamed.crc32c());
  EXPECT_NE(one.crc32c(), turned.crc32c());
  EXPECT_NE(one.crc32c(), joined.crc32c());
}

TEST(ClassTable, RefusesBadLines) {
  const TempDir folder;
  const auto path = folder.path() / "classes.tsv";
  for (const char* text : {"", "0 a\n", "1\ta\n", "0\ta\n2\tb\n", "0\ta\n0\tb\n", "x\ta\n", "0\ta\n1\ta\n"}) {
    write_text(path, text);
    EXPECT_THROW(ClassTable::load(path), Error) << text;
  }
}

}  // namespace
}  // namespace packhorse
