#include "base/settings_file.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;

const std::vector<std::string> kTables = {"pack", "train"};

class SettingsFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kReadsSettingsFiles) GTEST_SKIP() << "this build reads no settings files: there is no toml++";
  }
  SettingsFile read(const std::string& text, const std::vector<std::string>& tables = kTables) {
    write_text(path_, text);
    return read_settings_file(path_.string(), "train", tables);
  }
  /// The message that the text is refused with: what is wrong, where, what to try.
  std::string refusal(const std::string& text, const std::vector<std::string>& tables = kTables) {
    try {
      read(text, tables);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  }

  TempDir folder_;
  std::filesystem::path path_ = folder_.path() / "s.toml";
};

Json by_name(const SettingsFile& file) {
  Json all = Json::object();
  for (const FileSetting& setting : file.settings) all[setting.name] = setting.value;
  return all;
}

TEST_F(SettingsFiles, GiveEveryKindOfValue) {
  const SettingsFile file = read(
      "# a comment\nepochs = 90\nlr = 5e-2\nmirror = false\nnetwork = \"resnet-50\"\nsteps = [ 'a', \"b\", ]\n"
      "seed = 1_000\n");
  EXPECT_FALSE(file.has_tables);
  EXPECT_EQ(by_name(file), (Json{{"epochs", 90},
                                 {"lr", 0.05},
                                 {"mirror", false},
                                 {"network", "resnet-50"},
                                 {"seed", 1000},
                                 {"steps", {"a", "b"}}}));
}

TEST_F(SettingsFiles, OfSeveralStagesAreReadByTheirTables) {
  const SettingsFile file = read("[pack]\nshards = 8\n[train]\nepochs = 3\n");
  EXPECT_TRUE(file.has_tables);
  EXPECT_EQ(by_name(file), (Json{{"epochs", 3}}));
  EXPECT_TRUE(read("[pack]\nshards = 8\n").settings.empty());
}

TEST_F(SettingsFiles, NameTheLineOfASetting) {
  const SettingsFile file = read("\n\n[train]\n\nepochs = 3\n");
  ASSERT_EQ(file.settings.size(), 1);
  EXPECT_EQ(file.settings.front().where, path_.string() + ", line 5");
}

TEST_F(SettingsFiles, NameTheLineOfAMistake) {
  const std::pair<const char*, const char*> mistakes[] = {{"epochs = 3\nlr 0.5\n", "line 2"},
                                                          {"epochs = 3\n\nnetwork = resnet\n", "line 3"},
                                                          {"epochs = 3\nepochs = 4\n", "line 2"},
                                                          {"[pack]\n\n[trian]\nepochs = 3\n", "line 3"},
                                                          {"lr = 0.5\n[train]\nepochs = 3\n", "line 1"},
                                                          {"[train]\nepochs = 1979-05-27\n", "line 2"},
                                                          {"[train]\nlr = {a = 1}\n", "line 2"},
                                                          {"[train.more]\nlr = 1\n", "line 1"}};
  for (const auto& [text, line] : mistakes) {
    const std::string words = refusal(text);
    EXPECT_NE(words.find(path_.string() + ", " + line), std::string::npos) << text << words;
    EXPECT_EQ(words.find("INI"), std::string::npos) << words;
  }
}

TEST_F(SettingsFiles, SayWhatATableWasMeantToBe) {
  EXPECT_NE(refusal("[trian]\nepochs = 3\n").find("did you mean [train]?"), std::string::npos);
  EXPECT_NE(refusal("[train]\nepochs = 3\n", {}).find("without a table"), std::string::npos);
}

TEST_F(SettingsFiles, ThatAreNotThereAreRefused) {
  EXPECT_THROW(read_settings_file("/nonexistent.toml", "train", kTables), UsageError);
  EXPECT_THROW(read_settings_file(folder_.path().string(), "train", kTables), UsageError);
}

}  // namespace
}  // namespace packhorse
