// The frame of every stage, seen from its command line: --print-out.
#include "manifest/stage.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

/// The manifests of a run of list and pack. The files that they name do not exist, so that reading one of them is an
/// error.
class PrintOut : public ::testing::Test {
 protected:
  PrintOut() {
    write_json(description_, {{"schema", kDatasetSchema},
                              {"name", "birds"},
                              {"stages", {{"list", {{"no-such-setting", 1}}}, {"pack", {{"no-such-setting", 1}}}}}});
    const FileEntry gone{"train-list", folder_ / "gone", 3, 0x364B3FB7};
    save("list", {gone}, {gone});
    save("pack", {{"manifest", list_, 1, 0}}, {gone});
  }
  void save(const std::string& name, const std::vector<FileEntry>& inputs, const std::vector<FileEntry>& outputs) {
    StageManifest manifest;
    manifest.stage = name;
    manifest.inputs = inputs;
    manifest.outputs = outputs;
    make_folder(folder_ / ("some/run/" + name));
    manifest.save(folder_ / ("some/run/" + name));
  }

  static void begin(const std::string& name, std::vector<std::string> words, const std::string& upstream) {
    words.insert(words.begin(), "packhorse-" + name);
    std::vector<char*> pointers;
    pointers.reserve(words.size());
    for (std::string& word : words) pointers.push_back(word.data());
    Stage stage(name, "about", "example");
    stage.begin(static_cast<int>(pointers.size()), pointers.data(), {upstream});
  }
  /// What the stage prints; it must throw Answered.
  static std::string printed(const std::string& name, std::vector<std::string> words) {
    words.emplace_back("--print-out");
    testing::internal::CaptureStdout();
    EXPECT_THROW(begin(name, words, name == "list" ? "dataset" : "list"), Answered);
    return testing::internal::GetCapturedStdout();
  }

  TempDir folder_;
  const fs::path description_ = folder_ / "birds.json";
  const fs::path list_ = folder_ / "some/run/list/manifest.json", pack_ = folder_ / "some/run/pack/manifest.json";
  const std::string here_ = fs::current_path().string();
};

TEST_F(PrintOut, OfADescriptionIsBelowTheCurrentFolder) {
  EXPECT_EQ(printed("list", {description_.string()}), here_ + "/runs/birds/list\n");
  EXPECT_FALSE(fs::exists("runs/birds"));
}

TEST_F(PrintOut, OfTheManifestBeforeIsNextToItsFolder) {
  EXPECT_EQ(printed("pack", {list_.string()}), (folder_ / "some/run/pack").string() + "\n");
  // A relative path also gives an absolute folder.
  EXPECT_EQ(printed("pack", {fs::proximate(list_).string()}), (folder_ / "some/run/pack").string() + "\n");
}

TEST_F(PrintOut, OfItsOwnManifestIsTheFolderOfThatManifest) {
  EXPECT_EQ(printed("pack", {pack_.string()}), (folder_ / "some/run/pack").string() + "\n");
  fs::remove_all(folder_ / "some/run/list");  // its inputs are gone
  EXPECT_EQ(printed("pack", {pack_.string()}), (folder_ / "some/run/pack").string() + "\n");
}

TEST_F(PrintOut, IsTheFolderOfOutIfThatIsGiven) {
  for (const std::string& given : {list_.string(), pack_.string()}) {
    EXPECT_EQ(printed("pack", {given, "--out", "else/../where"}), here_ + "/where\n");
    EXPECT_EQ(printed("pack", {given, "--out", "/far/away"}), "/far/away\n");
  }
  EXPECT_EQ(printed("list", {description_.string(), "--out", "where"}), here_ + "/where\n");
  EXPECT_FALSE(fs::exists("where"));
}

TEST_F(PrintOut, IsAnErrorIfTheStageCannotStartFromTheInput) {
  EXPECT_THROW(begin("train", {"--print-out", list_.string()}, "pack"), UsageError);
  EXPECT_THROW(begin("train", {"--print-out", description_.string()}, "pack"), UsageError);
}

}  // namespace
}  // namespace packhorse::test
