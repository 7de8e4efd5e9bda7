// A new output format takes one function and one row of the table: here a text file with only the title.
#include "report/formats.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

void write_title(const std::filesystem::path& path, const Report& report) { write_text(path, report.title + "\n"); }

TEST(ExportFormats, ANewRowIsWrittenAndNamed) {
  const test::TempDir folder;
  std::vector<ExportFormat> formats(export_formats().begin(), export_formats().end());
  formats.push_back({"title", "title.txt", write_title});
  Report report;
  report.title = "birds";
  const auto files = write_formats(folder.path(), report, formats);
  ASSERT_EQ(files.size(), export_formats().size() + 1);
  EXPECT_EQ(files.back().role, "title");
  EXPECT_EQ(read_text(folder / "title.txt"), "birds\n");
  EXPECT_EQ(files.back().bytes, 6u);
  EXPECT_EQ(files.back().crc32c, file_facts(folder / "title.txt").crc32c);
}

TEST(ExportFormats, EveryRowWritesItsFile) {
  const test::TempDir folder;
  const auto files = write_formats(folder.path(), Report{});
  ASSERT_EQ(files.size(), 3u);
  for (size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ(files[i].role, export_formats()[i].role);
    EXPECT_TRUE(std::filesystem::exists(folder / export_formats()[i].name)) << export_formats()[i].name;
    EXPECT_GT(files[i].bytes, 0u);
  }
}

}  // namespace
}  // namespace packhorse
