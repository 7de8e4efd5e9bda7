#include "report/columns.h"

#include <cmath>
#include <sstream>

#include <gtest/gtest.h>

#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

std::vector<Json> sample_journal() {
  return {{{"kind", "run"}, {"step", 0}, {"host", "node, \"7\""}, {"settings", {{"lr", 0.1}}}},
          {{"kind", "step"}, {"step", 1}, {"loss", 2.302585092994046}, {"images_per_second", 100.0}},
          {{"kind", "step"}, {"step", 2}, {"loss", nullptr}, {"images_per_second", 101}, {"late", 5}},
          {{"kind", "validation"}, {"step", 2}, {"top1", 0.1}, {"done", true}},
          {{"kind", "step"}, {"step", 3}, {"loss", 1.0 / 3}, {"images_per_second", 1e-300}, {"late", 6}}};
}

TEST(Columns, HoldEveryNumberOfTheJournalExactly) {
  const auto tables = journal_tables(sample_journal());
  ASSERT_EQ(tables.size(), 3u);
  EXPECT_EQ(tables[0].name, "runs");
  EXPECT_EQ(tables[1].name, "steps");
  EXPECT_EQ(tables[2].name, "validation");
  const Table& steps = tables[1];
  EXPECT_EQ(steps.rows, 3u);
  EXPECT_EQ(steps.find("step")->integers, (std::vector<int64_t>{1, 2, 3}));
  const Column& loss = *steps.find("loss");
  EXPECT_EQ(loss.unit, "nat");
  EXPECT_EQ(loss.reals[0], 2.302585092994046);
  EXPECT_TRUE(std::isnan(loss.reals[1]));
  EXPECT_EQ(loss.reals[2], 1.0 / 3);
  EXPECT_EQ(steps.find("images_per_second")->reals, (std::vector<double>{100, 101, 1e-300}));
  EXPECT_TRUE(std::isnan(steps.find("late")->reals[0]));  // not in the first line
  EXPECT_EQ(steps.find("late")->reals[2], 6);
  EXPECT_EQ(steps.find("kind"), nullptr);
  EXPECT_EQ(tables[0].find("settings")->texts[0], "{\"lr\":0.1}");
  EXPECT_EQ(tables[2].find("done")->integers[0], 1);
  EXPECT_EQ(table_of(tables, "epochs").rows, 0u);
}

TEST(Columns, AnEmptyJournalHasNoTables) { EXPECT_TRUE(journal_tables({}).empty()); }

TEST(Columns, AreWrittenToHdf5WithTheirUnits) {
  const TempDir folder;
  {
    Hdf5Writer writer(folder / "metrics.h5");
    write_tables(writer, journal_tables(sample_journal()));
    writer.commit();
  }
  const Hdf5Reader reader(folder / "metrics.h5");
  EXPECT_EQ(reader.integers("steps/step"), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(reader.doubles("steps/loss")[2], 1.0 / 3);
  EXPECT_EQ(reader.text_attribute("steps/loss", "unit"), "nat");
  EXPECT_EQ(reader.text_attribute("steps/images_per_second", "unit"), "image/s");
  EXPECT_EQ(reader.strings("runs/host")[0], "node, \"7\"");
}

TEST(Columns, AreWrittenToCsv) {
  const TempDir folder;
  write_csv(folder / "metrics.csv", journal_tables(sample_journal()));
  std::istringstream lines(read_text(folder / "metrics.csv"));
  std::vector<std::string> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(line);
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0], "table,step,host,settings,loss,images_per_second,late,top1,done\r");
  EXPECT_EQ(rows[1], "runs,0,\"node, \"\"7\"\"\",\"{\"\"lr\"\":0.1}\",,,,,\r");
  EXPECT_EQ(rows[2], "steps,1,,,2.302585092994046,100,,,\r");
  EXPECT_EQ(rows[3], "steps,2,,,,101,5,,\r");
  EXPECT_EQ(rows[5], "validation,2,,,,,,0.1,1\r");
}

}  // namespace
}  // namespace packhorse::test
