// A finished result is replaced by a finished one, in one move that may be cut short anywhere.
#include "manifest/output_folder.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using Contents = std::map<std::string, std::string>;

Contents contents_of(const fs::path& folder) {
  Contents contents;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) contents[fs::relative(entry.path(), folder).string()] = read_text(entry.path());
  return contents;
}

void write_all(const fs::path& folder, const Contents& contents) {
  for (const auto& [name, text] : contents) {
    make_folder((folder / name).parent_path());
    write_text(folder / name, text);
  }
}

const Contents kOld = {{"manifest.json", "old"}, {"a", "old"}, {"b", "old"}, {"parts/1", "old"}, {"parts/2", "old"}};
const Contents kNew = {{"manifest.json", "new"}, {"a", "new"}, {"c", "new"}, {"parts/1", "new"}};

TEST(OutputFolders, AreReplacedAsAWhole) {
  const test::TempDir dir;
  const fs::path out = dir / "out";
  write_all(out, kOld);
  write_text(out / "notes of a user", "mine");
  {
    OutputFolder folder(out, "pack", {});
    write_all(folder.work(), kNew);
    EXPECT_EQ(read_text(out / "manifest.json"), "old");
    folder.commit({out / "b"});
  }
  Contents expected = kNew;
  expected["notes of a user"] = "mine";
  EXPECT_EQ(contents_of(out), expected);
}

TEST(OutputFolders, StayAsTheyAreWithoutACommit) {
  const test::TempDir dir;
  const fs::path out = dir / "out", fresh = dir / "fresh";
  write_all(out, kOld);
  {
    OutputFolder folder(out, "pack", {});
    write_all(folder.work(), kNew);
    OutputFolder(fresh, "pack", {}).work();
  }
  EXPECT_EQ(contents_of(out), kOld);
  EXPECT_FALSE(fs::exists(fresh)) << "nothing came of it";
}

TEST(OutputFolders, LoseWhatADeadOwnerLeftAndKeepWhatOneContinues) {
  const test::TempDir dir;
  const fs::path out = dir / "out";
  write_all(out, kOld);
  write_all(out / ".work-a-host-1", kNew);
  write_all(out / "unfinished", {{"step", "5"}});
  OutputFolder folder(out, "train", {});
  folder.work_in(out / "unfinished");
  Contents expected = contents_of(out);
  EXPECT_EQ(expected.erase(".owner"), 1U);
  expected.erase("unfinished/step");
  EXPECT_EQ(expected, kOld);
  EXPECT_EQ(read_text(folder.work() / "step"), "5");
}

// The states in which a process that is killed in its commit leaves the folder: some files are moved, and some not.
TEST(OutputFolders, CompleteACommitThatWasCutShort) {
  for (int moved = 0; moved <= 5; ++moved) {
    const test::TempDir dir;
    write_all(dir.path(), kOld);
    write_all(dir / ".finished", kNew);
    if (moved == 0) write_text(dir / ".finished/.outdated.json", "[\"b\"]");
    if (moved >= 1) fs::remove(dir / "b");
    if (moved >= 2) fs::rename(dir / ".finished/a", dir / "a");
    if (moved >= 3) {
      fs::remove_all(dir / "parts");
      fs::rename(dir / ".finished/parts", dir / "parts");
    }
    if (moved >= 4) fs::rename(dir / ".finished/c", dir / "c");
    if (moved >= 5) fs::rename(dir / ".finished/manifest.json", dir / "manifest.json");
    complete_commit(dir.path());
    EXPECT_EQ(contents_of(dir.path()), kNew) << moved;
  }
}

}  // namespace
}  // namespace packhorse
