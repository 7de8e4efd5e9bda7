// One rule says what is an image, in every form of a source; everything else is named with its reason.
#include "source/skipped.h"

#include <sys/stat.h>

#include <cstdlib>

#include <gtest/gtest.h>

#include "source/made_sources.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

/// Files of each kind, below a class's folder.
const Members kKinds = {{"a.jpg", "a"},
                        {"b.JPE", "b"},
                        {"c.jfif", "c"},
                        {"d.jpeg", "d"},
                        {"e.PNG", "e"},
                        {"f.gif", "refused by pack"},
                        {"g", kJpeg},
                        {"h.001", std::string("\x89PNG\r\n\x1a\n") + "and so on"},
                        {"deep/er/i.jpg", "i"},
                        {"two..points.jpg", "j"},
                        {".hidden.jpg", kJpeg},
                        {".thumbs/k.jpg", kJpeg},
                        {"__MACOSX/l.jpg", kJpeg},
                        {"README", "a text"},
                        {"notes.txt", "a text"},
                        {"box.xml", "<?xml"},
                        {"none", ""},
                        {"more.tar", "a tar, its name says"}};
const Lines kImages = {"a.jpg", "b.JPE", "c.jfif", "d.jpeg", "deep/er/i.jpg",
                       "e.PNG", "f.gif", "g",      "h.001",  "two..points.jpg"};
const Lines kOthers = {"not an image README", "not an image box.xml", "tar more.tar", "empty none",
                       "not an image notes.txt"};

Members below(const std::string& folder, const Members& members) {
  Members moved;
  for (const auto& [name, content] : members) moved.emplace_back(folder + name, content);
  return moved;
}

/// Each line with `prefix` before its last word.
Lines prefixed(const Lines& lines, const std::string& prefix) {
  Lines all;
  for (const std::string& line : lines) {
    const size_t at = line.rfind(' ') + 1;
    all.push_back(line.substr(0, at) + prefix + line.substr(at));
  }
  return all;
}

Lines joined_lines(Lines first, const Lines& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

TEST(ImageRule, IsTheSameInEveryForm) {
  const TempDir folder;
  for (const auto& [name, content] : kKinds) put(folder / "folders/c1" / name, content);
  put(folder / "class_tars/c1.tar", tar_text(kKinds));
  const Members no_tar(kKinds.begin(), kKinds.end() - 1);  // a tar that holds a tar would be one of class tars
  put(folder / "folders.tar", tar_text(below("c1/", no_tar)));
  put(folder / "tars.tar", tar_text({{"c1.tar", tar_text(kKinds)}}));

  const SourceImages folders = list_source(folder / "folders", Labels::by_source);
  EXPECT_EQ(images_of(folders), prefixed(kImages, "c1 c1/"));
  // Hidden folders are not looked into: one entry each.
  EXPECT_EQ(lines_of(folders.skipped),
            joined_lines({"hidden c1/.hidden.jpg", "hidden c1/.thumbs"},
                         joined_lines({"not an image c1/README", "hidden c1/__MACOSX"},
                                      prefixed({kOthers.begin() + 1, kOthers.end()}, "c1/"))));
  EXPECT_EQ(folders.found, folders.images.size() + folders.skipped.size());

  const auto in_tar = [&](const std::string& source, const std::string& prefix, const Lines& others) {
    const SourceImages found = list_source(folder / source, Labels::by_source);
    EXPECT_EQ(images_of(found), prefixed(kImages, "c1 " + prefix)) << source;
    EXPECT_EQ(lines_of(found.skipped), prefixed(others, prefix)) << source;
    EXPECT_EQ(found.found, found.images.size() + found.skipped.size()) << source;
  };
  Lines others =
      joined_lines({"hidden .hidden.jpg", "hidden .thumbs/k.jpg", "not an image README", "hidden __MACOSX/l.jpg"},
                   {kOthers.begin() + 1, kOthers.end()});
  in_tar("class_tars", "c1.tar/", others);
  in_tar("tars.tar", "tars.tar/c1.tar/", others);
  std::erase(others, "tar more.tar");
  in_tar("folders.tar", "folders.tar/c1/", others);
}

TEST(ImageRule, HoldsWithoutClassesToo) {
  const TempDir folder;
  for (const auto& [name, content] : kKinds) put(folder / "flat" / name, content);
  put(folder / "flat.tar", tar_text(kKinds));
  const SourceImages flat = list_source(folder / "flat", Labels::elsewhere);
  EXPECT_EQ(images_of(flat), kImages);
  EXPECT_EQ(flat.skipped.size(), 8u);
  const SourceImages tar = list_source(folder / "flat.tar", Labels::elsewhere);
  EXPECT_EQ(images_of(tar), prefixed(kImages, "flat.tar/"));
  EXPECT_EQ(tar.found, kKinds.size());
  EXPECT_EQ(tar.skipped.size(), 8u);
}

TEST(Skipped, SaysHowManyOfEachKind) {
  const Skipped skipped{{SkipReason::not_image, "a.txt"}, {SkipReason::hidden, ".b"}, {SkipReason::not_image, "c\td"}};
  EXPECT_EQ(skipped_text(skipped), "hidden: 1, not an image: 2");
  EXPECT_EQ(skipped_text({}), "");
  EXPECT_EQ(skipped_by_reason(skipped), (std::map<std::string, uint64_t>{{"hidden", 1}, {"not an image", 2}}));
  EXPECT_EQ(skipped_clause(skipped), "; skipped 3 (hidden: 1, not an image: 2)");
  EXPECT_EQ(skipped_clause({}), "");
  EXPECT_EQ(skipped_lines("train", skipped),
            "train\tnot an image\ta.txt\ntrain\thidden\t.b\ntrain\tnot an image\tc\\td\n");
}

TEST(Skipped, IsLoggedByNameAsFarAsItCanBeRead) {
  Skipped skipped;
  for (int i = 0; i < 1025; ++i) skipped.push_back({SkipReason::hidden, "." + std::to_string(i)});
  testing::internal::CaptureStderr();
  log_skipped(skipped);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("skipped .19 (hidden)"), std::string::npos) << text;
  EXPECT_EQ(text.find("skipped .20 "), std::string::npos) << text;
  EXPECT_NE(text.find("skipped 1,005 more"), std::string::npos) << text;
}

TEST(Skipped, WhatIsOutsideOfTheClassesIsNamed) {
  const TempDir folder;
  const Members top = {{"x.jpg", "x"}, {"README", "r"}, {".git", "g"}};
  for (const auto& [name, content] : top) {
    put(folder / "folders" / name, content);
    put(folder / "tars" / name, content);
  }
  put(folder / "folders/c1/a.jpg", "a");
  put(folder / "folders/c2.tar", tar_text({{"b.jpg", "b"}}));
  put(folder / "tars/c1.tar", tar_text({{"a.jpg", "a"}}));
  const Lines others = {"hidden .git", "not an image README"};
  EXPECT_EQ(lines_of(list_source(folder / "folders", Labels::by_source).skipped),
            joined_lines(others, {"tar c2.tar", "outside of any class x.jpg"}));
  EXPECT_EQ(lines_of(list_source(folder / "tars", Labels::by_source).skipped),
            joined_lines(others, {"outside of any class x.jpg"}));
  put(folder / "f.tar", tar_text({{"x.jpg", "x"}, {"README", "r"}, {".git", "g"}, {"c1/a.jpg", "a"}}));
  const SourceImages in_folders = list_source(folder / "f.tar", Labels::by_source);
  EXPECT_EQ(images_of(in_folders), Lines{"c1 f.tar/c1/a.jpg"});
  EXPECT_EQ(lines_of(in_folders.skipped),
            (Lines{"hidden f.tar/.git", "not an image f.tar/README", "outside of any class f.tar/x.jpg"}));
  put(folder / "t.tar", tar_text({{"x.jpg", "x"}, {"README", "r"}, {"c1.tar", tar_text({{"a.jpg", "a"}})}}));
  EXPECT_EQ(lines_of(list_source(folder / "t.tar", Labels::by_source).skipped),
            (Lines{"not an image t.tar/README", "outside of any class t.tar/x.jpg"}));
}

TEST(Skipped, PipesAndLinksThatLeadNowhereAreNamedAndNotOpened) {
  const TempDir folder;
  put(folder / "c1/a.jpg", "a");
  ASSERT_EQ(mkfifo((folder / "c1/pipe.jpg").c_str(), 0600), 0);
  ASSERT_EQ(mkfifo((folder / "c1/pipe").c_str(), 0600), 0);
  fs::create_symlink("pipe", folder / "c1/to-pipe.jpg");
  fs::create_symlink("gone.jpg", folder / "c1/b.jpg");
  fs::create_symlink("c.jpg", folder / "c1/c.jpg");  // a link to itself
  fs::create_symlink("a.jpg", folder / "c1/good.jpg");
  fs::create_symlink("gone", folder / "c2");
  const SourceImages found = list_source(folder.path(), Labels::by_source);
  EXPECT_EQ(images_of(found), (Lines{"c1 c1/a.jpg", "c1 c1/good.jpg"}));
  EXPECT_EQ(lines_of(found.skipped),
            (Lines{"dangling link c1/b.jpg", "dangling link c1/c.jpg", "special file c1/pipe",
                   "special file c1/pipe.jpg", "special file c1/to-pipe.jpg", "dangling link c2"}));
}

TEST(FolderLinks, AreFollowedOnce) {
  const TempDir folder;
  put(folder / "store/x.jpg", "x");
  put(folder / "store/deep/y.jpg", "y");
  put(folder / "data/c1/real/a.jpg", "a");
  fs::create_symlink(folder / "store", folder / "data/c1/linked");
  fs::create_symlink("real", folder / "data/c1/again");    // a folder of this class
  fs::create_symlink(".", folder / "data/c1/itself");      // a cycle
  fs::create_symlink("../..", folder / "data/c1/around");  // around the source
  fs::create_symlink("c1", folder / "data/c2");            // a class may be a link, as ever
  fs::create_symlink(".", folder / "data/c3");             // the source itself
  const SourceImages found = list_source(folder / "data", Labels::by_source);
  const auto of = [](const std::string& c) {
    return Lines{c + " " + c + "/linked/deep/y.jpg", c + " " + c + "/linked/x.jpg", c + " " + c + "/real/a.jpg"};
  };
  EXPECT_EQ(images_of(found), joined_lines(of("c1"), of("c2")));
  EXPECT_EQ(lines_of(found.skipped),
            (Lines{"folder listed already c1/again", "folder listed already c1/around",
                   "folder listed already c1/itself", "folder listed already c2/again",
                   "folder listed already c2/around", "folder listed already c2/itself", "folder listed already c3"}));
}

TEST(FolderLinks, ThatSpreadDoNotMultiplyImages) {
  const TempDir folder;
  put(folder / "c1/a.jpg", "a");
  fs::path at = folder / "store";
  // Each of 30 folders has two links to the next: 2^30 paths lead to the last. (The kernel follows 40 links in a path.)
  for (int i = 0; i < 30; ++i) {
    fs::create_directories(at / std::to_string(i));
    for (const char* name : {"left", "right"}) {
      fs::create_symlink(at / std::to_string(i + 1), at / std::to_string(i) / name);
    }
  }
  put(at / "30/z.jpg", "z");
  fs::create_symlink(at / "0", folder / "c1/to");
  fs::create_directories(folder / "data");
  fs::rename(folder / "c1", folder / "data/c1");
  const SourceImages found = list_source(folder / "data", Labels::by_source);
  EXPECT_EQ(found.images.size(), 2u);
  EXPECT_EQ(skipped_text(found.skipped), "folder listed already: 30");
}

TEST(Folders, ThatLieTooDeepAreNamed) {
  const TempDir folder;
  std::string name = "c1";
  for (int depth = 1; depth <= 66; ++depth) {
    name += "/d";
    if (depth == 64 || depth == 66) put(folder / name / "a.jpg", "a");
  }
  const SourceImages found = list_source(folder.path(), Labels::by_source);
  EXPECT_EQ(found.images.size(), 1u);
  EXPECT_EQ(skipped_text(found.skipped), "folder too deep: 1");
}

TEST(Tars, NameTheirLinksAndSpecialMembers) {
  const TempDir folder;
  put(folder / "in/c1/a.jpg", "a");
  fs::create_symlink("a.jpg", folder / "in/c1/soft.jpg");
  fs::create_hard_link(folder / "in/c1/a.jpg", folder / "in/c1/hard.jpg");
  ASSERT_EQ(mkfifo((folder / "in/c1/pipe.jpg").c_str(), 0600), 0);
  const std::string command =
      "cd '" + (folder / "in").string() + "' && tar -cf ../t.tar c1/a.jpg c1/hard.jpg c1/pipe.jpg c1/soft.jpg";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const SourceImages found = list_source(folder / "t.tar", Labels::by_source);
  EXPECT_EQ(images_of(found), Lines{"c1 t.tar/c1/a.jpg"});
  EXPECT_EQ(lines_of(found.skipped), (Lines{"link in a tar t.tar/c1/hard.jpg", "special file t.tar/c1/pipe.jpg",
                                            "link in a tar t.tar/c1/soft.jpg"}));
}

TEST(Tars, NamesAreTakenAsToolsUnpackThem) {
  const TempDir folder;
  put(folder / "t.tar",
      tar_text({{"/abs/a.jpg", "a"}, {"./here/./b.jpg", "b"}, {"../up/c.jpg", "c"}, {"slash//d.jpg", "d"}}));
  const SourceImages found = list_source(folder / "t.tar", Labels::by_source);
  EXPECT_EQ(images_of(found),
            (Lines{"abs t.tar/abs/a.jpg", "here t.tar/here/b.jpg", "slash t.tar/slash/d.jpg", "up t.tar/up/c.jpg"}));
  EXPECT_TRUE(found.skipped.empty());
}

TEST(Tars, AreNamedForWhatTheyAre) {
  const TempDir folder;
  const std::string classes =
      tar_text({{"n1.tar", tar_text({{"a.jpg", "a"}})}, {"n2.tar", tar_text({{"b.jpg", "b"}})}});
  put(folder / "train.tar", classes);
  put(folder / "three.tar", tar_text({{"train.tar", classes}}));
  for (const char* source : {"three.tar", "."}) {
    expect_error(folder / source, "no images of class 't");  // 'three' or 'train'
    expect_error(folder / source, "tar: ");
    expect_error(folder / source, "a tar inside of a class is not looked into");
  }
  const fs::path in = folder / "in/n1";
  fs::create_directories(in);
  for (const std::string format : {"gnu", "pax"}) {
    put(in / "a.jpg", "a");
    fs::resize_file(in / "a.jpg", 1 << 20);  // mostly a hole
    const std::string command =
        "cd '" + (folder / "in").string() + "' && tar --sparse --format=" + format + " -cf sparse.tar n1";
    ASSERT_EQ(std::system(command.c_str()), 0);
    expect_error(folder / "in/sparse.tar", "'n1/a.jpg' is stored as a sparse file");
    put(in / "a.jpg", "");
    fs::resize_file(in / "a.jpg", 1 << 20);  // only a hole
    ASSERT_EQ(std::system(command.c_str()), 0);
    expect_error(folder / "in/sparse.tar", "'n1/a.jpg' is stored as a sparse file");
  }
}

TEST(Listings, KeepImagesThatLookLikeComments) {
  const TempDir folder;
  put(folder / "list.txt", "# a comment\n#1.jpg\tcat\n#2.jpg\tonly-here\n# off.jpg\tcat\n#no tab\nx.jpg\tcat\n");
  const SourceImages found = list_source(folder / "list.txt", Labels::by_source);
  EXPECT_EQ(images_of(found), (Lines{"cat #1.jpg", "cat x.jpg", "only-here #2.jpg"}));
  EXPECT_EQ(lines_of(found.skipped),
            (Lines{"comment line 1: # a comment", "comment line 4: # off.jpg\tcat", "comment line 5: #no tab"}));
  EXPECT_EQ(found.found, 6u);
}

TEST(Listings, MayBeginWithAByteOrderMark) {
  const TempDir folder;
  put(folder / "list.txt", "\xef\xbb\xbfx.jpg\tcat\ny.jpg\tdog\n");
  EXPECT_EQ(images_of(list_source(folder / "list.txt", Labels::by_source)), (Lines{"cat x.jpg", "dog y.jpg"}));
  put(folder / "wide.txt", std::string("\xff\xfex\0.\0", 6));
  expect_error(folder / "wide.txt", "UTF-16");
}

TEST(Listings, AreRefusedWithTheLineAndTheReason) {
  const TempDir folder;
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"path\tlabel\nx.jpg\tcat\n", "line 1 is a header"},
      {"\n# from a table\nFile_Name\tClass ID\nx.jpg\tcat\n", "line 3 is a header"},
      {"image label\nx.jpg cat\n", "line 1 is a header"},
      {"path,label\nx.jpg,cat\n", "line 1 is a header"},
      {"#path\tlabel\nx.jpg\tcat\n", "line 1 is a header"},
      {"id\tlabel\tpath\n0\t1\tx.jpg\n", "line 1 is a header"},
      {"x.jpg,cat\ny.jpg,dog\n", "line 1 has commas"},
      {"a b.jpg,cat\n", "line 1 has commas"},
      {"a b.jpg, cat\n", "line 1 has commas"},
      {"0\t1\tx.jpg\n1\t1\t4\ty.jpg\n", "line 2 has 4 fields: an image can have one class only"},
      {"x.jpg\tcat\ny.jpg\tcat\tdog\n", "line 2 has 3 fields: an image can have one class only"},
      {"x.jpg 1\ny.jpg 1 0 1\n", "line 2 has more than one field after the image's name"},
      {"x.jpg\tcat\ny.jpg\n", "line 2"},
  };
  for (const auto& [text, words] : bad) {
    put(folder / "list.txt", text);
    expect_error(folder / "list.txt", words);
    expect_error(folder / "list.txt", "list.txt");
  }
  put(folder / "list.txt", "./image\tclass\nlabel.jpg\tname\n");
  EXPECT_EQ(images_of(list_source(folder / "list.txt", Labels::by_source)), (Lines{"class image", "name label.jpg"}));
  put(folder / "list.txt", "a b.jpg 1\nc.jpg d.jpg 1\nno extension 1\n");
  EXPECT_EQ(images_of(list_source(folder / "list.txt", Labels::by_source)),
            (Lines{"1 a b.jpg", "1 c.jpg d.jpg", "1 no extension"}));
  put(folder / "list.txt", "a,b.jpg\tcat, tom\n");
  EXPECT_EQ(images_of(list_source(folder / "list.txt", Labels::by_source)), Lines{"cat, tom a,b.jpg"});
}

}  // namespace
}  // namespace packhorse::test
