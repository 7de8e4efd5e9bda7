#include "base/files.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/json.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

using test::TempDir;

TEST(OutputFile, AppearsOnlyWhenCommitted) {
  const TempDir folder;
  const fs::path path = folder.path() / "a.txt";
  {
    OutputFile abandoned(path);
    abandoned.write("half a fi");
  }
  EXPECT_TRUE(fs::is_empty(folder.path())) << "a file that is not committed must leave nothing";
  OutputFile file(path);
  file.write("whole");
  EXPECT_FALSE(fs::exists(path));
  file.commit();
  EXPECT_EQ(read_text(path), "whole");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(OutputFile, KeepsTheOldFileUntilCommit) {
  const TempDir folder;
  const fs::path path = folder.path() / "a.txt";
  write_text(path, "old");
  {
    OutputFile file(path);
    file.write("new");
  }
  EXPECT_EQ(read_text(path), "old");
}

TEST(OutputFile, KnowsSizeAndChecksumOfWhatWasWritten) {
  const TempDir folder;
  OutputFile file(folder.path() / "big");
  std::string text(3'000'001, 'x');  // more than one buffer, not a multiple of it
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  file.write(std::string_view(text).substr(0, 10));
  file.write(std::string_view(text).substr(10));
  file.commit();
  const FileFacts facts = file_facts(folder.path() / "big");
  EXPECT_EQ(facts.bytes, text.size());
  EXPECT_EQ(facts.bytes, file.bytes());
  EXPECT_EQ(facts.crc32c, file.crc32c());
  EXPECT_EQ(facts.crc32c, crc32c(std::as_bytes(std::span(text))));
  EXPECT_EQ(read_text(folder.path() / "big"), text);
}

TEST(OutputFile, ReportsAFailedWrite) {
  const TempDir folder;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 1 << 20;
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    OutputFile file(folder.path() / "too-big");
    file.write(std::string(5 << 20, 'x'));
    file.commit();
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("cannot write"), std::string::npos) << message;
  EXPECT_NE(message.find("too-big"), std::string::npos) << message;
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(InputFile, ReadsAtAnyOffset) {
  const TempDir folder;
  write_text(folder.path() / "a", "0123456789");
  const InputFile file(folder.path() / "a");
  std::array<std::byte, 3> part{};
  file.read_at(4, part);
  EXPECT_EQ(static_cast<char>(part[0]), '4');
  EXPECT_EQ(static_cast<char>(part[2]), '6');
}

TEST(InputFile, ReportsWhereAFileEndsTooEarly) {
  const TempDir folder;
  write_text(folder.path() / "a", "0123456789");
  const InputFile file(folder.path() / "a");
  std::array<std::byte, 4> part{};
  try {
    file.read_at(8, part);
    FAIL() << "a read beyond the end succeeded";
  } catch (const DamageError& error) {
    EXPECT_NE(std::string(error.what()).find("ends at byte 10, 2 bytes too early"), std::string::npos) << error.what();
  }
}

TEST(InputFile, NamesThePathThatCannotBeRead) {
  const TempDir folder;
  for (const fs::path& path : {folder.path() / "none", folder.path()}) {
    try {
      const InputFile file(path);
      FAIL() << path << " was opened";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos);
      EXPECT_FALSE(error.text().hint.empty());
    }
  }
}

TEST(Folders, AreCreatedOrRefused) {
  const TempDir folder;
  make_folder(folder.path() / "a/b/c");
  EXPECT_TRUE(fs::is_directory(folder.path() / "a/b/c"));
  write_text(folder.path() / "file", "");
  EXPECT_THROW(make_folder(folder.path() / "file"), Error);
  EXPECT_THROW(make_folder(folder.path() / "file/below"), Error);
}

TEST(Json, NamesFileAndLineOfASyntaxError) {
  const TempDir folder;
  write_text(folder.path() / "bad.json", "{\"a\": 1,\n \"b\": }");
  try {
    read_json(folder.path() / "bad.json");
    FAIL() << "bad JSON was read";
  } catch (const DamageError& error) {
    EXPECT_NE(std::string(error.what()).find("bad.json"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
  }
}

TEST(Json, NamesTheMemberThatIsWrong) {
  const Json object = {{"count", 3}, {"name", "x"}};
  EXPECT_EQ(json_member<int64_t>(object, "count", "here"), 3);
  EXPECT_THROW(json_member<std::string>(object, "count", "here"), Error);
  EXPECT_THROW(json_member<int64_t>(object, "absent", "here"), Error);
  const Json odd = {{"negative", -1}, {"part", 2.9}, {"word", "3"}, {"large", 18446744073709551615U}};
  EXPECT_THROW(json_member<uint64_t>(odd, "negative", "here"), Error) << "it would be 18,446,744,073,709,551,615";
  for (const char* name : {"part", "word", "large"})
    EXPECT_THROW(json_member<int64_t>(odd, name, "here"), Error) << name;
  EXPECT_THROW(json_member<double>(odd, "word", "here"), Error);
  EXPECT_EQ(json_member<double>(odd, "negative", "here"), -1) << "a whole number is a number";
}

// Opening a pipe for reading waits for someone who writes.
TEST(Files, APipeIsRefusedWithoutWaiting) {
  const TempDir folder;
  const std::filesystem::path pipe = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(read_text(pipe), Error);
  EXPECT_THROW(read_text("/dev/null"), Error);
}

}  // namespace
}  // namespace packhorse
