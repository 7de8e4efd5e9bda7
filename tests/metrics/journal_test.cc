#include "metrics/journal.h"

#include <sys/resource.h>

#include <cmath>
#include <csignal>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

class JournalFile : public testing::Test {
 protected:
  /// run, steps 1 to 4, epoch at 2 and 4, validation at 4, stop at 4.
  void write_sample() {
    Journal journal(path_);
    journal.append({{"kind", "run"}, {"step", 0}, {"ranks", 2}});
    for (int step = 1; step <= 4; ++step) {
      journal.append({{"kind", "step"}, {"step", step}, {"loss", 1.0 / step}});
      if (step % 2 == 0) journal.append({{"kind", "epoch"}, {"step", step}, {"epoch", step / 2}});
    }
    journal.append({{"kind", "validation"}, {"step", 4}, {"top1", 0.1}});
    journal.append({{"kind", "stop"}, {"step", 4}, {"reason", "done"}});
    journal.sync();
  }

  TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "metrics.jsonl";
};

TEST_F(JournalFile, ReturnsLinesInOrderWithExactNumbers) {
  write_sample();
  const auto lines = read_journal(path_);
  ASSERT_EQ(lines.size(), 9u);
  EXPECT_EQ(lines[0]["ranks"], 2);
  EXPECT_EQ(lines[4]["loss"].get<double>(), 1.0 / 3);
  EXPECT_EQ(lines[8]["kind"], "stop");
}

TEST_F(JournalFile, DropsALastLineCutAtAnyByte) {
  write_sample();
  const std::string whole = read_text(path_);
  const size_t last = whole.rfind('\n', whole.size() - 2) + 1;
  for (size_t length = last; length < whole.size(); ++length) {
    write_text(path_, whole.substr(0, length));
    EXPECT_EQ(read_journal(path_).size(), 8u) << length;
    // Appending after such a cut must not join two lines.
    Journal(path_).append({{"kind", "run"}, {"step", 4}});
    const auto lines = read_journal(path_);
    ASSERT_EQ(lines.size(), 9u) << length;
    EXPECT_EQ(lines[8]["kind"], "run");
  }
}

TEST_F(JournalFile, AnEmptyFileHasNoLines) {
  write_text(path_, "");
  EXPECT_TRUE(read_journal(path_).empty());
  EXPECT_THROW(read_journal(folder_.path() / "missing.jsonl"), Error);
}

TEST_F(JournalFile, NamesTheDamagedLine) {
  for (const char* line : {"{\"kind\": \"step\", \"st", "[1]", "{\"step\": 1}", "", "{\"kind\": 3}"}) {
    write_text(path_, std::string("{\"kind\":\"run\"}\n") + line + "\n{\"kind\":\"run\"}\n");
    try {
      read_journal(path_);
      FAIL() << line;
    } catch (const DamageError& error) {
      EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
    }
  }
}

TEST_F(JournalFile, CutRemovesLinesAfterTheStepAndKeepsRuns) {
  write_sample();
  Journal(path_).append({{"kind", "run"}, {"step", 9}});
  cut_journal(path_, 2);
  const auto lines = read_journal(path_);
  ASSERT_EQ(lines.size(), 5u);  // run, step 1, step 2, epoch at 2, run
  EXPECT_EQ(lines[3]["kind"], "epoch");
  EXPECT_EQ(lines[4]["step"], 9);
  cut_journal(path_, 0);
  EXPECT_EQ(read_journal(path_).size(), 2u);
  write_text(path_, "{\"kind\":\"step\"}\n");
  EXPECT_THROW(cut_journal(path_, 1), DamageError);
}

TEST_F(JournalFile, AcceptsNumbersThatAreNotFiniteAndTextThatIsNotUtf8) {
  Journal(path_).append({{"kind", "step"}, {"step", 1}, {"loss", std::nan("")}});
  Journal(path_).append({{"kind", "stop"}, {"step", 1}, {"reason", "a\xff\nb"}});
  const auto lines = read_journal(path_);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[0]["loss"].is_null());
}

TEST_F(JournalFile, ALineWithTextWhereFiguresBelongIsDamage) {
  const std::string good = R"({"kind":"step","step":1,"loss":0.5,"top1":null})";
  const std::vector<std::pair<std::string, std::string>> bad = {
      {R"({"kind":"step","step":"1","loss":0.5})", "\"step\""},
      {R"({"kind":"step","step":-1,"loss":0.5})", "\"step\""},
      {R"({"kind":"step","step":1.5,"loss":0.5})", "\"step\""},
      {R"({"kind":"step","step":18446744073709551615,"loss":0.5})", "\"step\""},
      {R"({"kind":"step","loss":0.5})", "\"step\""},
      {R"({"kind":"epoch","step":1,"loss":"0.5"})", "\"loss\""},
      {R"({"kind":"validation","step":1,"top1":[0.5]})", "\"top1\""},
      {R"({"kind":"stop","step":1,"time":"now","reason":"finished"})", "\"time\""},
      {R"({"kind":3,"step":1})", "\"kind\""},
      {R"([1])", "\"kind\""}};
  for (const auto& [line, word] : bad) {
    std::string text = good;
    text += '\n';
    text += line;
    text += '\n';
    write_text(path_, text);
    try {
      read_journal(path_);
      ADD_FAILURE() << "accepted: " << line;
    } catch (const DamageError& error) {
      EXPECT_NE(error.text().what.find("line 2 of the journal"), std::string::npos) << error.what();
      EXPECT_NE(error.text().what.find(word), std::string::npos) << error.what();
    }
  }
}

TEST_F(JournalFile, AFullDiskIsAnErrorAndLeavesOnlyWholeLines) {
  write_sample();
  const auto size = std::filesystem::file_size(path_);
  Journal journal(path_);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{size + 10, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_THROW(journal.append({{"kind", "step"}, {"step", 5}, {"loss", 0.5}}), Error);
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(std::filesystem::file_size(path_), size);
  journal.append({{"kind", "step"}, {"step", 5}, {"loss", 0.5}});
  EXPECT_EQ(read_journal(path_).size(), 10u);
}

}  // namespace
}  // namespace packhorse::test
