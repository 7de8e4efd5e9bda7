#include "manifest/image_list.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;

void put(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

TEST(ImageList, BothFormsOfALine) {
  const TempDir folder;
  ImageEntry file;
  file.label = 7;
  file.path = "n1/a b.jpg";
  ImageEntry member;
  member.id = 1;
  member.label = 21840;
  member.path = "all.tar";
  member.member = "n1.tar/x.jpg";
  member.offset = uint64_t{1} << 40;  // more than 32 bits
  member.bytes = 12345;
  write_image_list(folder / "t.lst", {file, member});
  EXPECT_EQ(read_text(folder / "t.lst"), "0\t7\tn1/a b.jpg\n1\t21840\tall.tar\t1099511627776\t12345\tn1.tar/x.jpg\n");
  const auto back = read_image_list(folder / "t.lst");
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].label, 7u);
  EXPECT_EQ(back[0].name(), "n1/a b.jpg");
  EXPECT_EQ(back[1].offset, uint64_t{1} << 40);
  EXPECT_EQ(back[1].bytes, 12345u);
  EXPECT_EQ(back[1].name(), "all.tar/n1.tar/x.jpg");
}

TEST(ImageList, NamesMayContainAnyBytes) {
  const TempDir folder;
  const std::vector<std::string> names = {"tab\there", "new\nline",  "back\\slash",   "\\t",
                                          "\\",        "a\\\n\t\\n", " space ",       "caf\xc3\xa9",
                                          "\xff\xfe",  "quote\"'",   "#not a comment"};
  std::vector<ImageEntry> entries;
  for (const std::string& name : names) {
    EXPECT_EQ(unescape_name(escape_name(name)), name);
    EXPECT_EQ(escape_name(name).find_first_of("\t\n"), std::string::npos);
    ImageEntry entry;
    entry.id = entries.size();
    entry.path = name;
    entries.push_back(entry);
    entry.id = entries.size();
    entry.path = "x.tar";
    entry.member = name;
    entries.push_back(entry);
  }
  write_image_list(folder / "t.lst", entries);
  const auto back = read_image_list(folder / "t.lst");
  ASSERT_EQ(back.size(), entries.size());
  for (size_t i = 0; i < back.size(); ++i) {
    EXPECT_EQ(back[i].path, entries[i].path);
    EXPECT_EQ(back[i].member, entries[i].member);
  }
}

TEST(ImageList, ReadsListsOfMxnet) {
  const TempDir folder;
  put(folder / "t.lst", "12\t3.000000\tn1/a.jpg\r\n\n13\t0\tb.jpg");
  const auto entries = read_image_list(folder / "t.lst");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].id, 12u);
  EXPECT_EQ(entries[0].label, 3u);
  EXPECT_EQ(entries[0].path, "n1/a.jpg");
  EXPECT_EQ(entries[1].path, "b.jpg");
}

TEST(ImageList, NamesABadLineByItsNumber) {
  const TempDir folder;
  for (const char* line : {"x\t1\ta", "1\tx\ta", "1\t1", "1\t1\t", "1\t-1\ta", "1\t0.5\ta", "1\t1\ta\t5",
                           "1\t1\ta\t5\t6", "1\t1\ta\t5\t6\t", "1\t1\ta\tx\t6\tm", "1\t1\ta\t5\tx\tm",
                           "1\t1\ta\t5\t6\tm\tn", "1\t4294967296\ta", "18446744073709551616\t1\ta", "1 1 a"}) {
    put(folder / "t.lst", std::string("0\t0\tgood\n") + line + "\n");
    try {
      read_image_list(folder / "t.lst");
      ADD_FAILURE() << "accepted: " << line;
    } catch (const DamageError& error) {
      EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
    }
  }
}

TEST(ImageList, RandomTextNeverCrashes) {
  const TempDir folder;
  const std::string alphabet = "0123456789\t\t\t\n\\.-a/";
  for (uint64_t i = 0; i < 500; ++i) {
    RandomStream random(3, RandomUse::test, 0, i);
    std::string text;
    for (uint32_t length = random.below(60); length > 0; --length) {
      text += alphabet[random.below(static_cast<uint32_t>(alphabet.size()))];
    }
    put(folder / "t.lst", text);
    try {
      for (const ImageEntry& entry : read_image_list(folder / "t.lst")) EXPECT_FALSE(entry.path.empty());
    } catch (const DamageError&) {
      continue;  // most of these texts are not lists
    }
  }
}

}  // namespace
}  // namespace packhorse
