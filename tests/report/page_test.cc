#include "report/page.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "hdf5/hdf5_file.h"
#include "image/jpeg.h"
#include "report/html.h"
#include "report/metrics_file.h"
#include "report/plot.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

constexpr const char* kEvil = "<script>alert('x')</script>&\"quoted\"";

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

std::vector<uint8_t> small_jpeg() {
  DecodedImage image{40, 30, std::vector<uint8_t>(40 * 30 * 3, 200)};
  const auto bytes = encode_jpeg(image, 90);
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  return {begin, begin + bytes.size()};
}

/// A report in which every text tries to inject HTML.
Report evil_report() {
  Report report;
  report.title = kEvil;
  report.about = kEvil;
  report.facts = {{kEvil, kEvil}};
  report.settings = {{kEvil, kEvil}};
  std::vector<Json> journal;
  for (int step = 1; step <= 5; ++step) {
    journal.push_back({{"kind", "step"}, {"step", step}, {"loss", 1.0 / step}, {"images_per_second", 100}});
  }
  report.tables = journal_tables(journal);
  Evaluation evaluation;
  evaluation.listed = 3;
  evaluation.class_ids = {"n01", "n02"};
  evaluation.class_names = {kEvil, kEvil};
  AccuracyCounters counters{ClassSet(2)};
  counters.add(std::vector<float>{1, 0}, 0);
  counters.add(std::vector<float>{1, 0}, 1);
  counters.add(std::vector<float>{1, 0}, -1);
  ScopeResult scope = summarise(counters, 10);
  scope.name = "all";
  scope.title = kEvil;
  evaluation.scopes.push_back(scope);
  evaluation.samples.push_back({1, 0, kEvil, false, {{0, 0.75}, {1, 0.25}}, small_jpeg()});
  evaluation.samples.push_back({2, 1, kEvil, true, {{0, 0.75}}, {1, 2, 3}});
  report.evaluation = evaluation;
  return report;
}

TEST(Html, EscapesSpecialCharactersAndInvalidUtf8) {
  EXPECT_EQ(escape_html("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
  EXPECT_EQ(escape_html("crêpe 猫 😀"), "crêpe 猫 😀");
  EXPECT_EQ(escape_html("a\xff\xc0\xaf\x01z"), "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
  EXPECT_EQ(escape_html("\xe7\x8c"), "\xef\xbf\xbd\xef\xbf\xbd");  // ends inside a character
}

TEST(Html, Base64FollowsTheRfc) {
  const auto of = [](const std::string& text) {
    return base64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(of("f"), "Zg==");
  EXPECT_EQ(of("fo"), "Zm8=");
  EXPECT_EQ(of("foo"), "Zm9v");
  EXPECT_EQ(of("foobar"), "Zm9vYmFy");
  EXPECT_EQ(of("\xff\xfe\xfd"), "//79");
}

TEST(Html, ImagesBecomeDataUrlsAndBrokenOnesAreEmpty) {
  EXPECT_TRUE(image_url(small_jpeg(), 160).starts_with("data:image/jpeg;base64,/9j/"));
  EXPECT_EQ(image_url(std::vector<uint8_t>{1, 2, 3}, 160), "");
  EXPECT_EQ(image_url({}, 160), "");
}

TEST(Page, EscapesEveryText) {
  const std::string page = report_page(evil_report());
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("\"quoted\""), std::string::npos);
  EXPECT_GT(count_of(page, "&lt;script&gt;"), 10u);
}

TEST(Page, IsSelfContainedAndShowsTheResults) {
  const std::string page = report_page(evil_report());
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
  EXPECT_EQ(page.find("<link"), std::string::npos);
  EXPECT_EQ(count_of(page, "<svg"), 2u);  // loss and throughput: the journal has nothing else to plot
  EXPECT_EQ(count_of(page, "<svg"), count_of(page, "</svg>"));
  EXPECT_EQ(count_of(page, "data:image/jpeg"), 1u);
  EXPECT_NE(page.find("50.0 %"), std::string::npos);
  EXPECT_NE(page.find("75.0 %"), std::string::npos);
  EXPECT_NE(page.find("not evaluated"), std::string::npos);
  EXPECT_EQ(count_of(page, "<div"), count_of(page, "</div>"));
  EXPECT_EQ(count_of(page, "<table>"), count_of(page, "</table>"));
}

TEST(Page, ShowsThePublishedFiguresOnlyForTheSameClasses) {
  Report report = evil_report();
  EXPECT_EQ(report_page(report).find("published"), std::string::npos);
  report.evaluation->class_ids.resize(21841);
  report.evaluation->class_names.resize(21841);
  const std::string page = report_page(report);
  EXPECT_EQ(count_of(page, "published reference run"), 1u);
  EXPECT_NE(page.find("41.9 %"), std::string::npos);
}

TEST(Page, AnEmptyRunGivesAPage) {
  const std::string page = report_page(Report{.title = "empty",
                                              .about = "",
                                              .facts = {},
                                              .settings = Json::object(),
                                              .tables = {},
                                              .evaluation = std::nullopt,
                                              .evaluation_file = {}});
  EXPECT_NE(page.find("</html>"), std::string::npos);
}

TEST(Plot, AMissingGnuplotIsAnErrorWithAHint) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nonexistent", 1);
  try {
    draw_plots({{"a", "x", "y", {{"c", {1, 2}, {1, 2}}}}});
    ADD_FAILURE() << "draw_plots() did not throw without gnuplot";
  } catch (const Error& error) {
    EXPECT_NE(error.text().hint.find("gnuplot-nox"), std::string::npos);
  }
  setenv("PATH", path.c_str(), 1);
}

TEST(Plot, QuotesInTextsAndInTheTemporaryFolderAreText) {
  const test::TempDir folder;
  const std::filesystem::path quoted = folder / "it's";
  std::filesystem::create_directory(quoted);
  const char* const before = std::getenv("TMPDIR");
  const std::string kept = before == nullptr ? "" : before;
  setenv("TMPDIR", quoted.c_str(), 1);
  const auto drawn = draw_plots({{"a's title", "x's", "y's", {{"c's", {1, 2}, {1, 2}}}}});
  before == nullptr ? unsetenv("TMPDIR") : setenv("TMPDIR", kept.c_str(), 1);
  ASSERT_EQ(drawn.size(), 1u);
  for (const char* text : {"a's title", "x's", "y's", "c's"}) {
    std::string escaped = text;
    escaped.replace(escaped.find('\''), 1, "&#39;");
    EXPECT_TRUE(drawn[0].find(text) != std::string::npos || drawn[0].find(escaped) != std::string::npos) << text;
  }
}

TEST(Plot, DrawsOnePointAndSkipsPointsThatAreNotFinite) {
  const double nan = std::nan("");
  const auto drawn = draw_plots({{"one", "x", "y", {{"c", {1}, {1}}}},
                                 {"none", "x", "y", {{"c", {1, 2}, {nan, nan}}}},
                                 {"some", "x", "y", {{"c", {1, 2, 3}, {nan, 2, 2}}, {"empty", {}, {}}}}});
  ASSERT_EQ(drawn.size(), 3u);
  EXPECT_TRUE(drawn[0].starts_with("<svg"));
  EXPECT_TRUE(drawn[1].empty());
  EXPECT_TRUE(drawn[2].starts_with("<svg"));
}

TEST(Plot, ThinningKeepsTheMean) {
  Curve curve{"c", {}, {}};
  for (int i = 0; i < 1000; ++i) {
    curve.x.push_back(i);
    curve.y.push_back(i % 2);
  }
  const Curve thin = thinned(curve, 100);
  ASSERT_EQ(thin.x.size(), 100u);
  for (const double y : thin.y) EXPECT_EQ(y, 0.5);
  EXPECT_EQ(thin.x[0], 4.5);
  EXPECT_EQ(thinned(curve, 1000).y, curve.y);
}

TEST(MetricsFile, HoldsJournalEvaluationAndFacts) {
  const TempDir folder;
  Report report = evil_report();
  report.facts = {{"network", "inception-bn"}, {"train", "2026-01-01, 1 rank on node7"}};
  write_evaluation(folder / "evaluation.h5", *report.evaluation);
  report.evaluation_file = folder / "evaluation.h5";
  write_metrics(folder / "metrics.h5", report);
  const Hdf5Reader reader(folder / "metrics.h5");
  EXPECT_EQ(reader.text_attribute("", "schema"), kMetricsSchema);
  EXPECT_EQ(reader.text_attribute("", "network"), "inception-bn");
  EXPECT_EQ(Json::parse(reader.text_attribute("", "settings")), report.settings);
  EXPECT_EQ(reader.doubles("steps/loss")[4], 0.2);
  EXPECT_EQ(reader.real_attribute("evaluation/all", "top1"), 0.5);
  EXPECT_EQ(reader.text_attribute("evaluation/all", "top1_unit"), "fraction");
  EXPECT_EQ(reader.text_attribute("evaluation", "schema"), kEvaluationSchema);
  EXPECT_EQ(reader.integer_attribute("evaluation", "images_listed"), 3);
  EXPECT_EQ(reader.strings("evaluation/classes/id")[1], "n02");
  report.evaluation_file.clear();
  write_metrics(folder / "alone.h5", report);
  EXPECT_FALSE(Hdf5Reader(folder / "alone.h5").has("evaluation"));
}

}  // namespace
}  // namespace packhorse::test
