#include "manifest/stage_manifest.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

StageManifest made_by(const std::string& stage, const std::vector<FileEntry>& outputs, double seconds) {
  StageManifest manifest;
  manifest.stage = stage;
  manifest.command = {"packhorse-" + stage, "x.json"};
  manifest.settings = {{"seed", 1}};
  manifest.counts = {{"listed", 3}};
  manifest.outputs = outputs;
  manifest.seconds = seconds;
  return manifest;
}

TEST(StageManifest, SavesAndLoads) {
  const TempDir folder;
  write_text(folder / "a.txt", "abc");
  StageManifest manifest = made_by("list", {describe_file("train-list", folder / "a.txt", 3)}, 1.5);
  manifest.dataset = {{"name", "x"}};
  manifest.dataset_folder = folder / "descriptions";
  manifest.classes_crc32c = "01234567";
  manifest.ranks = 4;
  manifest.backend = "cpu backend: slow";
  manifest.resampling = "triangle/1";
  manifest.save(folder.path());

  const StageManifest read = StageManifest::load(folder / "manifest.json");
  EXPECT_EQ(read.stage, "list");
  EXPECT_EQ(read.command, manifest.command);
  EXPECT_EQ(read.settings, manifest.settings);
  EXPECT_EQ(read.dataset, manifest.dataset);
  EXPECT_EQ(read.dataset_folder, manifest.dataset_folder);
  EXPECT_EQ(read.counts, manifest.counts);
  EXPECT_EQ(read.classes_crc32c, "01234567");
  EXPECT_EQ(read.seconds, 1.5);
  EXPECT_EQ(read.ranks, 4);
  EXPECT_EQ(read.backend, "cpu backend: slow");
  EXPECT_EQ(read.resampling, "triangle/1");
  const FileEntry entry = read.output_of("train-list");
  EXPECT_EQ(entry.path, folder / "a.txt");
  EXPECT_EQ(entry.bytes, 3U);
  EXPECT_EQ(entry.crc32c, 0x364B3FB7U) << "CRC32C of abc";
  EXPECT_EQ(entry.records, 3U);
  EXPECT_THROW(read.output_of("class-table"), Error);
}

TEST(StageManifest, PathsFollowAMovedFolder) {
  const TempDir folder;
  make_folder(folder / "run/pack");
  make_folder(folder / "run/list");
  write_text(folder / "run/list/a.txt", "abc");
  StageManifest manifest = made_by("pack", {}, 1);
  manifest.inputs = {describe_file("train-list", folder / "run/list/a.txt")};
  manifest.save(folder / "run/pack");
  fs::rename(folder / "run", folder / "moved");
  EXPECT_EQ(StageManifest::load(folder / "moved/pack/manifest.json").inputs[0].path, folder / "moved/list/a.txt");
}

TEST(StageManifest, RefusesAChangedFile) {
  const TempDir folder;
  write_text(folder / "a.txt", "abc");
  const FileEntry entry = describe_file("train-list", folder / "a.txt");
  EXPECT_NO_THROW(check_file(entry, "m", true));
  write_text(folder / "a.txt", "abd");
  EXPECT_NO_THROW(check_file(entry, "m", false)) << "only the size is checked";
  EXPECT_THROW(check_file(entry, "m", true), DamageError);
  write_text(folder / "a.txt", "abcd");
  EXPECT_THROW(check_file(entry, "m", false), DamageError);
}

// If a stage runs again with the same result, its manifest differs (it contains times), but its results do not.
TEST(StageManifest, AcceptsARewrittenManifestWithTheSameResults) {
  const TempDir folder;
  write_text(folder / "a.txt", "abc");
  write_text(folder / "journal", "step 1");
  const auto outputs = [&] {
    return std::vector{describe_file("train-list", folder / "a.txt"), describe_file("journal", folder / "journal")};
  };
  made_by("list", outputs(), 1).save(folder.path());
  StageManifest next = made_by("pack", {}, 1);
  next.inputs = {describe_manifest("manifest", StageManifest::load(folder / "manifest.json"))};
  make_folder(folder / "pack");
  next.save(folder / "pack");
  const FileEntry input = StageManifest::load(folder / "pack/manifest.json").inputs.at(0);

  write_text(folder / "journal", "step 1, later");
  made_by("list", outputs(), 2.25).save(folder.path());
  const StageManifest made = StageManifest::load(folder / "pack/manifest.json");
  EXPECT_NO_THROW(check_input(input, made));
  write_text(folder / "a.txt", "abd");
  made_by("list", outputs(), 1).save(folder.path());
  try {
    check_input(input, made);
    ADD_FAILURE() << "accepted";
  } catch (const OutOfDate& error) {
    EXPECT_NE(error.text().what.find("'pack' is out of date"), std::string::npos) << error.what();
    EXPECT_NE(error.text().hint.find("packhorse-pack " + (folder / "manifest.json").string()), std::string::npos);
  }
}

TEST(StageManifest, ThatNameEachOtherHaveNoEarlierStage) {
  const TempDir folder;
  const fs::path one = folder / "one/manifest.json", other = folder / "other/manifest.json";
  for (const auto& [path, before] : {std::pair(one, other), {other, one}}) {
    make_folder(path.parent_path());
    StageManifest manifest = made_by("train", {}, 1);
    manifest.inputs = {{"manifest", before, 0, 0}};
    manifest.save(path.parent_path());
  }
  EXPECT_THROW(earlier_stage(StageManifest::load(one), "list"), Error);
}

TEST(StageManifest, RefusesAnIncompleteManifest) {
  const TempDir folder;
  made_by("list", {}, 1).save(folder.path());
  const std::string whole = read_text(folder / "manifest.json");
  for (const size_t size : {size_t{0}, whole.size() / 3, whole.size() - 3}) {
    write_text(folder / "manifest.json", whole.substr(0, size));
    EXPECT_THROW(StageManifest::load(folder / "manifest.json"), Error) << size;
  }
  for (const std::string name : {"stage", "settings", "outputs", "counts", "ranks"}) {
    Json json = Json::parse(whole);
    json.erase(name);
    write_json(folder / "manifest.json", json);
    EXPECT_THROW(StageManifest::load(folder / "manifest.json"), Error) << name;
  }
}

}  // namespace
}  // namespace packhorse::test
