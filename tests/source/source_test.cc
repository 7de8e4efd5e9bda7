#include "source/source.h"

#include <sys/stat.h>

#include <cstdlib>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "source/image_reader.h"
#include "source/made_sources.h"
#include "source/tar_reader.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;
std::string content_of(const fs::path& source, const ImageEntry& image) {
  std::vector<std::byte> bytes;
  ImageReader(root_of_source(source)).read(image, bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// "label name content" of each image, in order.
std::vector<std::string> all_of(const fs::path& source, const SourceImages& found) {
  std::vector<std::string> lines;
  lines.reserve(found.images.size());
  for (const ImageEntry& image : found.images) {
    lines.push_back(std::to_string(image.label) + " " + image.name() + " " + content_of(source, image));
  }
  return lines;
}

TEST(Source, OneFolderPerClass) {
  const TempDir folder;
  put(folder / "n2" / "b.jpg", "two b");
  put(folder / "n2" / "a.JPEG", "two a");
  put(folder / "n1" / "deep" / "er" / "c.png", "one c");
  put(folder / "n1" / "without extension", kJpeg);
  const SourceImages found = list_source(folder.path(), Labels::by_source);
  EXPECT_EQ(found.classes, (std::vector<std::string>{"n1", "n2"}));
  EXPECT_EQ(all_of(folder.path(), found),
            (std::vector<std::string>{"0 n1/deep/er/c.png one c", "0 n1/without extension " + std::string(kJpeg),
                                      "1 n2/a.JPEG two a", "1 n2/b.jpg two b"}));
  EXPECT_TRUE(found.skipped.empty());
}

TEST(Source, NumericClassesAreSortedByValue) {
  const TempDir folder;
  for (const char* id : {"10", "9", "0", "b", "100", "a"}) put(folder / id / "x.jpg", id);
  EXPECT_EQ(list_source(folder.path(), Labels::by_source).classes,
            (std::vector<std::string>{"0", "9", "10", "100", "a", "b"}));
}

TEST(Source, ATarOfClassTars) {
  const TempDir folder;
  put(folder / "all.tar",
      tar_text({{"n2.tar", tar_text({{"n2_1.JPEG", "two one"}, {"n2_0.JPEG", std::string(1000, 'x')}})},
                {"sub/n1.tar", tar_text({{"./n1_5.JPEG", "one five"}})}}));
  const SourceImages found = list_source(folder / "all.tar", Labels::by_source);
  EXPECT_EQ(all_of(folder / "all.tar", found),
            (std::vector<std::string>{"0 all.tar/sub/n1.tar/n1_5.JPEG one five",
                                      "1 all.tar/n2.tar/n2_0.JPEG " + std::string(1000, 'x'),
                                      "1 all.tar/n2.tar/n2_1.JPEG two one"}));
}

TEST(Source, AFolderOfClassTars) {
  const TempDir folder;
  put(folder / "n2.tar", tar_text({{"b.jpg", "b"}}));
  put(folder / "n1.tar", tar_text({{"a.jpg", "a"}, {"deep/c.jpg", "c"}}));
  const SourceImages found = list_source(folder.path(), Labels::by_source);
  EXPECT_EQ(all_of(folder.path(), found),
            (std::vector<std::string>{"0 n1.tar/a.jpg a", "0 n1.tar/deep/c.jpg c", "1 n2.tar/b.jpg b"}));
}

TEST(Source, ATarWithOneFolderPerClass) {
  const TempDir folder;
  put(folder / "t.tar", tar_text({{"train/n2/b.jpg", "b"}, {"train/n1/deep/a.jpg", "a"}, {"train/n1/c.jpg", "c"}}));
  const SourceImages found = list_source(folder / "t.tar", Labels::by_source);
  EXPECT_EQ(found.classes, (std::vector<std::string>{"n1", "n2"}));
  EXPECT_EQ(all_of(folder / "t.tar", found),
            (std::vector<std::string>{"0 t.tar/train/n1/c.jpg c", "0 t.tar/train/n1/deep/a.jpg a",
                                      "1 t.tar/train/n2/b.jpg b"}));
  put(folder / "one.tar", tar_text({{"cats/a.jpg", "a"}, {"cats/b.jpg", "b"}}));
  EXPECT_EQ(list_source(folder / "one.tar", Labels::by_source).classes, std::vector<std::string>{"cats"});
}

TEST(Source, ImagesWithoutClassesNeedLabelsFromElsewhere) {
  const TempDir folder;
  put(folder / "flat.tar", tar_text({{"val/b.jpg", "b"}, {"val/a.jpg", "a"}}));
  const SourceImages tar = list_source(folder / "flat.tar", Labels::elsewhere);
  EXPECT_TRUE(tar.classes.empty());
  EXPECT_EQ(all_of(folder / "flat.tar", tar),
            (std::vector<std::string>{"0 flat.tar/val/a.jpg a", "0 flat.tar/val/b.jpg b"}));
  put(folder / "flat" / "b.jpg", "b");
  put(folder / "flat" / "a.jpg", "a");
  EXPECT_EQ(all_of(folder / "flat", list_source(folder / "flat", Labels::elsewhere)),
            (std::vector<std::string>{"0 a.jpg a", "0 b.jpg b"}));
  put(folder / "bare.tar", tar_text({{"b.jpg", "b"}}));
  expect_error(folder / "bare.tar", "1 image and no class folders");
  expect_error(folder / "bare.tar", "ground_truth");
  expect_error(folder / "flat", "2 images and no class folders");
  expect_error(folder / "flat", "ground_truth");
}

TEST(Source, AListing) {
  const TempDir folder;
  put(folder / "images" / "a b.jpg", "ab");
  put(folder / "x.jpg", "x");
  put(folder / "list.txt", "# a comment\nimages/a b.jpg\tcat\n\n./x.jpg\tdog\r\n");
  const SourceImages found = list_source(folder / "list.txt", Labels::by_source);
  EXPECT_EQ(found.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(all_of(folder / "list.txt", found), (std::vector<std::string>{"0 images/a b.jpg ab", "1 x.jpg x"}));
  put(folder / "spaces.txt", "images/a b.jpg 10\nx.jpg 9\n");
  EXPECT_EQ(list_source(folder / "spaces.txt", Labels::by_source).classes, (std::vector<std::string>{"9", "10"}));
  put(folder / "mxnet.lst", "0\t3.000000\tx.jpg\n");
  EXPECT_EQ(list_source(folder / "mxnet.lst", Labels::by_source).classes, std::vector<std::string>{"3"});
  put(folder / "twice.txt", "x.jpg\tcat\nimages/../x.jpg\tdog\n");
  expect_error(folder / "twice.txt", "appears twice");
  put(folder / "short.txt", "x.jpg\tcat\ny.jpg\n");
  expect_error(folder / "short.txt", "line 2");
}

TEST(Source, EmptyClassesAreReported) {
  const TempDir folder;
  put(folder / "n1" / "a.jpg", "a");
  fs::create_directories(folder / "n2");
  put(folder / "n3" / "only.txt", "");
  expect_error(folder.path(), "'n2' (and 1 more)");
  put(folder / "t.tar", tar_text({{"n1.tar", tar_text({{"a.jpg", "a"}})}, {"n7.tar", tar_text({})}}));
  expect_error(folder / "t.tar", "'n7'");
  put(folder / "u.tar", tar_text({{"n1.tar", tar_text({{"a.jpg", "a"}})}, {"n7.tar", ""}}));
  expect_error(folder / "u.tar", "n7.tar");
}

TEST(Source, MissingAndUnusableSourcesAreRefused) {
  const TempDir folder;
  expect_error(folder / "missing", "No such file");
  expect_error(folder.path(), "nothing is there");
  put(folder / "binary", std::string(600, '\0'));
  expect_error(folder / "binary", "neither a folder");
  put(folder / "empty", "");
  expect_error(folder / "empty", "neither a folder");
  put(folder / "x.tar.gz", "\x1f\x8b\x08 and so on");
  expect_error(folder / "x.tar.gz", "gzip");
  put(folder / "text.tar", "this is a text\n");
  EXPECT_NE(error_of(folder / "text.tar"), "none");
  put(folder / "inner.tar", tar_text({{"n1.tar.gz", "x"}}));
  expect_error(folder / "inner.tar", "not an image: 1");
}

TEST(Source, DuplicatesAreRefused) {
  const TempDir folder;
  put(folder / "t.tar", tar_text({{"n1.tar", tar_text({{"a.jpg", "a"}, {"a.jpg", "b"}})}}));
  expect_error(folder / "t.tar", "'t.tar/n1.tar/a.jpg' appears twice");
  put(folder / "u.tar", tar_text({{"x/n1.tar", tar_text({{"a.jpg", "a"}})}, {"y/n1.tar", tar_text({{"a.jpg", "b"}})}}));
  expect_error(folder / "u.tar", "'n1' appears twice");
}

TEST(Source, AClassNameWithATabIsRefused) {
  const TempDir folder;
  put(folder / "n\t1" / "a.jpg", "a");
  expect_error(folder.path(), "control character");
}

TEST(Source, TruncatedTarsAreDamage) {
  const TempDir folder;
  const std::string whole = tar_text({{"n1.tar", tar_text({{"a.jpg", std::string(700, 'a')}, {"b.jpg", "b"}})},
                                      {"n2.tar", tar_text({{"c.jpg", "c"}})}});
  put(folder / "t.tar", whole);
  ASSERT_EQ(error_of(folder / "t.tar"), "none");
  const size_t end = whole.find_last_not_of('\0') + 1;  // only padding follows
  for (size_t length = 1; length <= end; length += 97) {
    put(folder / "t.tar", whole.substr(0, length));
    EXPECT_NE(error_of(folder / "t.tar"), "none") << length;
  }
  const std::string one = tar_text({{"c/c.jpg", "c"}, {"c/d.jpg", "d"}});
  put(folder / "one.tar", one.substr(0, 1024));  // cut between two members: only the end mark is missing
  expect_error(folder / "one.tar", "end mark");
}

TEST(Source, TarsOfOtherToolsAreReadInPlace) {
  const TempDir folder;
  const std::string longest = std::string(120, 'l') + "/" + std::string(150, 'm') + ".jpg";
  put(folder / "in" / "n1" / "plain.jpg", "plain");
  put(folder / "in" / "n1" / "caf\xc3\xa9 \xe6\x97\xa5.jpg", "unicode");
  put(folder / "in" / "n1" / longest, "long");
  fs::create_symlink("plain.jpg", folder / "in" / "n1" / "link.jpg");
  for (const std::string format : {"gnu", "pax", "ustar"}) {
    const std::string members = format == "ustar" ? "n1/plain.jpg" : "n1";
    std::string command = "cd '" + (folder / "in").string();
    command += "' && tar --format=" + format;
    command += " -cf ../" + format;
    command += ".tar " + members;
    ASSERT_EQ(std::system(command.c_str()), 0);
    const SourceImages found = list_source(folder / (format + ".tar"), Labels::by_source);
    for (const ImageEntry& image : found.images) {
      const std::string want = image.member.find("plain") != std::string::npos ? "plain"
                               : image.member.find("lll") != std::string::npos ? "long"
                                                                               : "unicode";
      EXPECT_EQ(content_of(folder / (format + ".tar"), image), want) << format;
      const std::string name = want == "long"    ? longest
                               : want == "plain" ? "plain.jpg"
                                                 : "caf\xc3\xa9 \xe6\x97\xa5.jpg";
      EXPECT_EQ(image.member, "n1/" + name);
    }
    EXPECT_EQ(found.images.size(), format == "ustar" ? 1u : 3u);
    EXPECT_EQ(found.skipped.size(), format == "ustar" ? 0u : 1u);
  }
}

TEST(Source, RandomEditsOfATarNeverCrash) {
  const TempDir folder;
  const std::string good = tar_text({{"n1.tar", tar_text({{"a.jpg", std::string(600, 'a')}, {"b.jpg", "b"}})},
                                     {"n2.tar", tar_text({{"c.jpg", "c"}})}});
  int refused = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    RandomStream random(6, RandomUse::test, 0, i);
    std::string bytes = good;
    for (uint32_t edits = 1 + random.below(8); edits > 0; --edits) {
      // Half of the edits are in headers.
      const uint32_t at = random.below(2) != 0 ? random.below(512) + 512 * random.below(6)
                                               : random.below(static_cast<uint32_t>(bytes.size()));
      bytes[at % bytes.size()] = static_cast<char>(random.next());
    }
    put(folder / "t.tar", bytes);
    try {
      const SourceImages found = list_source(folder / "t.tar", Labels::by_source);
      for (const ImageEntry& image : found.images) {
        ASSERT_LE(image.offset + image.bytes, bytes.size());
        content_of(folder / "t.tar", image);
      }
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 200);
}

// Labels must not follow the places of members that are others now.
TEST(ImageReader, AMemberThatIsAnotherOneThanWhenListedIsAnError) {
  const TempDir folder;
  const std::string name(180, 'x');  // in a header of its own
  const Members listed = {{"n1/a.jpg", "first"},
                          {"n2/b.jpg", "other"},
                          {"n2/" + name + "1.jpg", "large"},
                          {"n2/" + name + "2.jpg", "eight"}};
  put(folder / "t.tar", tar_text(listed));
  const SourceImages found = list_source(folder / "t.tar", Labels::by_source);
  ASSERT_EQ(found.images.size(), 4u);
  for (const ImageEntry& image : found.images) EXPECT_EQ(content_of(folder / "t.tar", image).size(), 5u);
  Members swapped = listed;
  std::swap(swapped[0], swapped[1]);
  put(folder / "t.tar", tar_text(swapped));
  EXPECT_THROW(content_of(folder / "t.tar", found.images[0]), ArchiveError);
  Members longer = listed;
  longer[0].second = "first and more";
  put(folder / "t.tar", tar_text(longer));
  EXPECT_THROW(content_of(folder / "t.tar", found.images[0]), ArchiveError);
}

TEST(ImageReader, AChangedArchiveIsAnError) {
  const TempDir folder;
  put(folder / "t.tar", tar_text({{"c/a.jpg", std::string(2000, 'a')}}));
  const SourceImages found = list_source(folder / "t.tar", Labels::by_source);
  put(folder / "t.tar", "short");
  EXPECT_THROW(content_of(folder / "t.tar", found.images[0]), ArchiveError);
  fs::remove(folder / "t.tar");
  EXPECT_THROW(content_of(folder / "t.tar", found.images[0]), ArchiveError);
  EXPECT_THROW(ImageReader(folder / "gone"), Error);
}

TEST(ImageReader, ManyArchivesDoNotRunOutOfFiles) {
  const TempDir folder;
  for (int i = 0; i < 600; ++i) put(folder / (std::to_string(i) + ".tar"), tar_text({{"a.jpg", std::to_string(i)}}));
  const SourceImages found = list_source(folder.path(), Labels::by_source);
  const ImageReader reader(folder.path());
  std::vector<std::byte> bytes;
  for (const ImageEntry& image : found.images) reader.read(image, bytes);
  const auto open_files = std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  EXPECT_LT(open_files, 400);
}

}  // namespace
}  // namespace packhorse::test
