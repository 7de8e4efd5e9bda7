#include "demo/tar_writer.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/subprocess.h"

namespace packhorse::test {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(TarWriter, GnuTarReadsIt) {
  const TempDir folder;
  const std::string large(70'000, 'x'), long_name = std::string(180, 'n') + ".JPEG";
  TarWriter tar(folder / "a.tar");
  tar.add("n00000001_1.JPEG", bytes_of("one"));
  tar.add("empty", {});
  tar.add("folder/large", bytes_of(large));
  tar.add(long_name, bytes_of("long"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.tar")) << "exists before it is complete";
  tar.finish();

  const RunOptions here{.folder = folder.path()};
  EXPECT_EQ(run_shell("tar tf a.tar", here).out, "n00000001_1.JPEG\nempty\nfolder/large\n" + long_name + "\n");
  EXPECT_EQ(run_shell("tar xOf a.tar n00000001_1.JPEG", here).out, "one");
  EXPECT_EQ(run_shell("tar xOf a.tar folder/large", here).out, large);
  EXPECT_EQ(run_shell("tar xOf a.tar " + long_name, here).out, "long");
}

TEST(TarWriter, BytesDependOnlyOnNamesAndContents) {
  const TempDir folder;
  std::vector<std::byte> inner[2];
  for (int i = 0; i < 2; ++i) {
    TarWriter memory(inner[i]);
    memory.add("a", bytes_of("A"));
    memory.finish();
    TarWriter file(folder / std::to_string(i));
    file.add("a", bytes_of("A"));
    file.finish();
  }
  EXPECT_EQ(inner[0], inner[1]);
  EXPECT_EQ(read_text(folder / "0"), read_text(folder / "1"));
  const auto file = read_text(folder / "0");
  EXPECT_TRUE(std::ranges::equal(bytes_of(file), inner[0])) << "the tar in memory and the tar in a file differ";
}

TEST(TarWriter, AnUnfinishedTarLeavesNoFile) {
  const TempDir folder;
  {
    TarWriter tar(folder / "a.tar");
    tar.add("a", bytes_of(std::string(3'000'000, 'a')));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(TarWriter, AFullDiskIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full here";
  const TempDir folder;
  std::filesystem::create_symlink("/dev/full", folder / "a.tar.part");
  TarWriter tar(folder / "a.tar");
  EXPECT_THROW(
      {
        tar.add("a", bytes_of(std::string(3'000'000, 'a')));
        tar.finish();
      },
      Error);
}

}  // namespace
}  // namespace packhorse::test
