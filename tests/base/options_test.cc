#include "base/options.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/settings_file.h"
#include "base/text.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using test::TempDir;

/// Options like those of a stage, with the values that a command line gives them.
struct Sample {
  Options options{"packhorse-sample", "about", "packhorse-sample x"};
  int64_t shards = 4;
  double limit = 0.5;
  std::string mode = "fast";
  enum class Colour { none, red, green } colour = Colour::red;
  bool flip = true;
  std::vector<std::string> list{"a"};
  int64_t batch = 8;
  std::string input;
  int threads = 2;

  Sample() {
    options.argument("input", input, "what to read");
    options.setting("shards", shards, "how many");
    options.between(1, 100);
    options.setting("limit", limit, "how much");
    options.setting("mode", mode, "which");
    options.one_of({"fast", "safe"});
    options.setting("colour", colour, {{"red", Colour::red}, {"green", Colour::green}}, "of what");
    options.setting("flip", flip, "whether");
    options.setting("list", list, "several");
    options.setting("batch", batch, "in one step");
    options.between(1, 1 << 20);
    options.run_option("threads", threads, "at once");
  }
  void parse(std::vector<std::string> words) {
    words.insert(words.begin(), "packhorse-sample");
    std::vector<char*> pointers;
    pointers.reserve(words.size());
    for (auto& word : words) pointers.push_back(word.data());
    options.parse(static_cast<int>(pointers.size()), pointers.data());
  }
};

TEST(Options, PreferTheCommandLine) {
  Sample sample;
  sample.parse({"in.json", "--shards", "8", "--no-flip", "--list", "x,y", "--threads", "3"});
  sample.options.apply({{"shards", 16}, {"limit", 0.25}, {"flip", true}, {"mode", "safe"}}, "old manifest");
  EXPECT_EQ(sample.input, "in.json");
  EXPECT_EQ(sample.shards, 8) << "the command line has precedence over a manifest";
  EXPECT_FALSE(sample.flip);
  EXPECT_EQ(sample.limit, 0.25) << "a manifest has precedence over the default";
  EXPECT_EQ(sample.mode, "safe");
  EXPECT_EQ(sample.list, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(sample.threads, 3);
}

TEST(Options, PreferAFileToAManifestButNotToTheCommandLine) {
  if (!kReadsSettingsFiles) GTEST_SKIP() << "there is no toml++";
  const TempDir folder;
  write_text(folder.path() / "s.toml", "shards = 12\nlimit = 0.75\nflip = false\nlist = [\"p\", \"q\"]\n");
  Sample sample;
  sample.parse({"in", "--config", (folder.path() / "s.toml").string(), "--limit", "0.125"});
  sample.options.apply({{"shards", 16}, {"limit", 0.25}}, "manifest");
  EXPECT_EQ(sample.shards, 12);
  EXPECT_EQ(sample.limit, 0.125);
  EXPECT_FALSE(sample.flip);
  EXPECT_EQ(sample.list, (std::vector<std::string>{"p", "q"}));
}

TEST(Options, TakeTheirTableOfAFileForSeveral) {
  if (!kReadsSettingsFiles) GTEST_SKIP() << "there is no toml++";
  const TempDir folder;
  const std::string file = folder.path() / "all.toml";
  write_text(file, "[other]\nsharks = 1\n[sample]\nshards = 12\nthreads = 5\n");
  Sample sample;
  sample.options.tables({"sample", "other"});
  sample.parse({"in", "--config", file});
  sample.options.apply({{"shards", 16}}, "manifest");
  EXPECT_EQ(sample.shards, 12);
  EXPECT_EQ(sample.threads, 5) << "an option of one run can stand in the file, too";
  EXPECT_TRUE(sample.options.given("shards"));
  EXPECT_FALSE(sample.options.settings().contains("threads"));
  EXPECT_EQ(sample.options.shared_settings(), file);
}

TEST(Options, NameTheLineOfTheFileWhoseValueIsWrong) {
  if (!kReadsSettingsFiles) GTEST_SKIP() << "there is no toml++";
  const TempDir folder;
  const std::string file = folder.path() / "s.toml";
  for (const char* line :
       {"shardz = 3", "shards = 0", "shards = 2.9", "shards = \"4\"", "shards = 99999999999999999999", "batch = -1",
        "limit = \"x\"", "mode = \"odd\"", "colour = 3", "flip = 1", "list = \"a\"", "list = [1]"}) {
    write_text(file, std::string("\n") + line + "\n");
    Sample sample;
    try {
      sample.parse({"in", "--config", file});
      ADD_FAILURE() << "accepted: " << line;
    } catch (const UsageError& error) {
      EXPECT_EQ(error.text().where, file + ", line 2") << line << error.what();
    }
  }
}

TEST(Options, RecordEverySettingAndNoRunOption) {
  Sample sample;
  sample.parse({"in", "--threads", "9"});
  const Json settings = sample.options.settings();
  EXPECT_EQ(settings, (Json{{"shards", 4},
                            {"limit", 0.5},
                            {"mode", "fast"},
                            {"colour", "red"},
                            {"flip", true},
                            {"list", {"a"}},
                            {"batch", 8}}));
}

TEST(Options, ApplyWhatTheyRecorded) {
  Sample first, second;
  first.parse({"in", "--shards", "7", "--mode", "safe", "--no-flip", "--list", "u,v"});
  second.parse({"in"});
  second.options.apply(first.options.settings(), "manifest");
  EXPECT_EQ(second.options.settings(), first.options.settings());
}

TEST(Options, TakeAWordForItsValueFromAnywhere) {
  using Colour = Sample::Colour;
  Sample standard, line, file, manifest;
  standard.parse({"in"});
  EXPECT_EQ(standard.colour, Colour::red);
  line.parse({"in", "--colour", "green"});
  line.options.apply({{"colour", "red"}}, "manifest");
  EXPECT_EQ(line.colour, Colour::green);
  const TempDir folder;
  write_text(folder.path() / "s.toml", "colour = \"green\"\n");
  if (kReadsSettingsFiles) {
    file.parse({"in", "--config", (folder.path() / "s.toml").string()});
    EXPECT_EQ(file.colour, Colour::green);
  }
  manifest.parse({"in"});
  manifest.options.apply({{"colour", "green"}}, "manifest");
  EXPECT_EQ(manifest.colour, Colour::green);
  EXPECT_EQ(manifest.options.settings()["colour"], "green");
  EXPECT_THROW(manifest.options.apply({{"colour", "blue"}}, "manifest"), UsageError);
  EXPECT_EQ(manifest.colour, Colour::green);  // a word that is refused changes nothing
}

TEST(Options, RefuseAWrongCommandLine) {
  const TempDir folder;
  write_text(folder.path() / "s.toml", "shardz = 12\n");
  const std::vector<std::vector<std::string>> lines = {{"in", "--shardz", "3"},
                                                       {"in", "--shards", "many"},
                                                       {"in", "--shards", "0"},
                                                       {"in", "--shards", "101"},
                                                       {"in", "--mode", "odd"},
                                                       {"in", "--colour", "blue"},
                                                       {"in", "extra", "more"},
                                                       {},
                                                       {"in", "--shards"},
                                                       {"in", "--config", (folder.path() / "s.toml").string()},
                                                       {"in", "--config", "/nonexistent.toml"}};
  for (const auto& line : lines) {
    Sample sample;
    try {
      sample.parse(line);
      ADD_FAILURE() << "accepted: " << testing::PrintToString(line);
    } catch (const UsageError& error) {
      EXPECT_EQ(error.exit_code(), kExitUsage);
      EXPECT_FALSE(error.text().hint.empty());
    }
  }
}

TEST(Options, SayWhatAMistypedNameWasMeantToBe) {
  const auto message = [](const std::function<void(Sample&)>& use) -> std::string {
    Sample sample;
    try {
      use(sample);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  for (const std::vector<std::string>& line : {std::vector<std::string>{"in", "--shrads", "3"}, {"in", "--shrads=3"}}) {
    const std::string typed = message([&](Sample& sample) { sample.parse(line); });
    EXPECT_NE(typed.find("there is no option --shrads"), std::string::npos) << typed;
    EXPECT_NE(typed.find("did you mean --shards?"), std::string::npos) << typed;
  }
  const std::string described = message([](Sample& sample) {
    sample.parse({"in"});
    sample.options.apply({{"shrads", 3}}, "a description");
  });
  EXPECT_NE(described.find("did you mean shards?"), std::string::npos) << described;
  const std::string other = message([](Sample& sample) { sample.parse({"in", "--zebra"}); });
  EXPECT_EQ(other.find("did you mean"), std::string::npos) << other;
}

TEST(Options, NameTheirLimitsAsTheyAreTyped) {
  const auto refusal = [](const std::vector<std::string>& line) -> std::string {
    Sample sample;
    try {
      sample.parse(line);
    } catch (const UsageError& error) {
      return error.text().hint;
    }
    return "accepted";
  };
  EXPECT_EQ(refusal({"in", "--batch", "0"}), "give a number from 1 to 1048576");
  EXPECT_EQ(refusal({"in", "--shards", "0"}), "give a number from 1 to 100");
  Sample sample;
  double share = 0.95;
  sample.options.setting("share", share, "of all");
  sample.options.between(0, 0.9);
  try {
    sample.parse({"in"});
    ADD_FAILURE() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().hint, "give a number from 0 to 0.9");
  }
}

TEST(Options, RefuseAManifestWithWrongSettings) {
  for (const Json& settings :
       {Json{{"shardz", 3}}, Json{{"shards", "many"}}, Json{{"shards", 0}}, Json{{"mode", "odd"}},
        Json{{"shards", 2.9}}, Json{{"batch", -1}}, Json{{"threads", 2}}}) {
    Sample sample;
    sample.parse({"in"});
    EXPECT_THROW(sample.options.apply(settings, "manifest"), UsageError) << settings;
  }
}

TEST(Options, ShowHelpWithAnExample) {
  Sample sample;
  testing::internal::CaptureStdout();
  EXPECT_THROW(sample.parse({"--help"}), Answered);
  const std::string help = testing::internal::GetCapturedStdout();
  for (const char* part : {"packhorse-sample x", "--shards", "{fast, safe}", "--config", "--threads"}) {
    EXPECT_NE(help.find(part), std::string::npos) << part << " is missing from\n" << help;
  }
}

TEST(Progress, EndsWithTheTotals) {
  testing::internal::CaptureStderr();
  {
    Progress progress("pack", "images", 1200);
    progress.add(1200);
    progress.note("all well");
  }
  const std::string images = testing::internal::GetCapturedStderr();
  EXPECT_NE(images.find("pack 1,200 of 1,200 images"), std::string::npos) << images;
  EXPECT_NE(images.find("images/s  in 0.0 s  all well"), std::string::npos) << images;
  testing::internal::CaptureStderr();
  Progress("verify", "bytes", 2'000'000).add(1'500'000);
  const std::string bytes = testing::internal::GetCapturedStderr();
  EXPECT_NE(bytes.find("verify 1.5 MB of 2.0 MB"), std::string::npos) << bytes;
  testing::internal::CaptureStderr();
  Progress("list", "images", 0, true).add(3);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "a silent Progress prints nothing";
}

TEST(Text, FormatsNumbersForPeople) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(14197087), "14,197,087");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(17600), "17.6 kB");
  EXPECT_EQ(bytes_text(2.5e11), "250.0 GB");
  EXPECT_EQ(duration_text(12.34), "12.3 s");
  EXPECT_EQ(duration_text(245), "4 min 05 s");
  EXPECT_EQ(duration_text(8.5 * 86400), "8 d 12 h");
  EXPECT_EQ(counted(1, "image"), "1 image");
  EXPECT_EQ(counted(0, "image"), "0 images");
  EXPECT_EQ(counted(1, "class"), "1 class");
  EXPECT_EQ(counted(21841, "class"), "21,841 classes");
  EXPECT_EQ(counted(2, "batch"), "2 batches");
}

/// What was looked for and is not there: only a relative path starts anywhere.
TEST(Errors, SayWhereARelativePathStarts) {
  const auto hint_of = [](const std::string& path) -> std::string {
    try {
      read_text(path);
    } catch (const Error& error) {
      return error.text().hint;
    }
    return "read";
  };
  EXPECT_EQ(hint_of("/nowhere/x.jpg"), "check the path");
  EXPECT_NE(hint_of("nowhere/x.jpg").find("the folder in which the command runs"), std::string::npos);
}

}  // namespace
}  // namespace packhorse
