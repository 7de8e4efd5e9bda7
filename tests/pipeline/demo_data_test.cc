// The demo's data: what packhorse-demo-data makes from Fashion-MNIST, and whether list accepts it with
// data_manifests/demo.json.
#include <gtest/gtest.h>
#include <zlib.h>

#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

/// A data set in the form of the Debian package, with `count` images in each half: label i % 10, all pixels 2 * label.
void write_small_set(const fs::path& folder, uint32_t count) {
  make_folder(folder);
  const auto write = [&](const std::string& name, const std::string& bytes) {
    gzFile file = gzopen((folder / name).c_str(), "wb");
    ASSERT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())), static_cast<int>(bytes.size()));
    ASSERT_EQ(gzclose(file), Z_OK);
  };
  const auto number = [](uint32_t value) {
    return std::string{static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
                       static_cast<char>(value)};
  };
  std::string images = number(0x803) + number(count) + number(28) + number(28), labels = number(0x801) + number(count);
  for (uint32_t i = 0; i < count; ++i) {
    images += std::string(28 * 28, static_cast<char>(2 * (i % 10)));
    labels += static_cast<char>(i % 10);
  }
  for (const char* half : {"train", "t10k"}) {
    write(std::string(half) + "-images-idx3-ubyte.gz", images);
    write(std::string(half) + "-labels-idx1-ubyte.gz", labels);
  }
}

class DemoData : public ::testing::Test {
 protected:
  RunResult make(const std::string& folder, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {folder, "--source", (project_ / "idx").string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_stage_command("demo-data", arguments, 0, project_.options());
  }
  Project project_;
};

TEST_F(DemoData, HasTheFormOfTheImageNetRelease) {
  write_small_set(project_ / "idx", 40);
  ASSERT_EQ(make("data").exit_code, 0);
  EXPECT_EQ(project_.shell("tar tf data/train.tar | sort -c && tar tf data/train.tar | wc -l").out, "10\n");
  EXPECT_EQ(project_.shell("tar xOf data/train.tar n03236735.tar | tar t").out,
            "n03236735_1.JPEG\nn03236735_2.JPEG\nn03236735_3.JPEG\nn03236735_4.JPEG\n");
  EXPECT_EQ(project_.shell("tar tf data/validation.tar | head -n 1").out, "FashionMNIST_val_00000001.JPEG\n");
  EXPECT_EQ(project_.shell("sed -n 4p data/validation_ground_truth.txt").out,
            "FashionMNIST_val_00000004.JPEG n03236735\n");

  const RunResult list = project_.shell("build/bin/packhorse-list data_manifests/demo.json --out runs/demo/list",
                                        {{"DEMO_DATA", (project_ / "data").string()}});
  ASSERT_EQ(list.exit_code, 0) << list.all();
  const StageManifest manifest = project_.manifest("demo", "list");
  EXPECT_EQ(count_of(manifest, "train"), 40);
  EXPECT_EQ(count_of(manifest, "validation"), 40);
  EXPECT_EQ(count_of(manifest, "classes"), 10);
}

TEST_F(DemoData, IsReproducibleAndNotMadeAgainIfComplete) {
  write_small_set(project_ / "idx", 30);
  ASSERT_EQ(make("one").exit_code, 0);
  ASSERT_EQ(make("two").exit_code, 0);
  for (const char* name : {"train.tar", "validation.tar", "validation_ground_truth.txt", "demo-data.json"}) {
    EXPECT_TRUE(read_text(project_ / ("one/" + std::string(name))) ==
                read_text(project_ / ("two/" + std::string(name))))
        << name;
  }
  const auto before = fs::last_write_time(project_ / "one/train.tar");
  const RunResult again = make("one");
  EXPECT_NE(again.out.find("already"), std::string::npos);
  EXPECT_EQ(fs::last_write_time(project_ / "one/train.tar"), before);

  // With other options, or if a file is missing, the data is made again.
  EXPECT_EQ(make("one", {"--train-per-class", "2"}).exit_code, 0);
  EXPECT_EQ(project_.shell("tar xOf one/train.tar n03236735.tar | tar t | wc -l").out, "2\n");
  fs::remove(project_ / "two/validation.tar");
  EXPECT_EQ(make("two").exit_code, 0);
  EXPECT_TRUE(fs::exists(project_ / "two/validation.tar"));
}

TEST_F(DemoData, ADamagedSourceIsRefused) {
  write_small_set(project_ / "idx", 30);
  const fs::path images = project_ / "idx/train-images-idx3-ubyte.gz",
                 labels = project_ / "idx/t10k-labels-idx1-ubyte.gz";
  const std::string whole = read_text(images);
  write_text(images, whole.substr(0, whole.size() / 2));
  EXPECT_EQ(make("data").exit_code, 1) << "cut short";
  write_text(images, "not gzip, not IDX");
  EXPECT_EQ(make("data").exit_code, 1);
  write_text(images, whole);
  fs::copy_file(images, labels, fs::copy_options::overwrite_existing);
  const RunResult result = make("data");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find("t10k-labels"), std::string::npos) << result.err;
  fs::remove(labels);
  EXPECT_EQ(make("data").exit_code, 1);
  EXPECT_FALSE(fs::exists(project_ / "data/demo-data.json"));
}

}  // namespace
}  // namespace packhorse::test
