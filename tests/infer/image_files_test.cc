#include "infer/image_files.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "support/shards.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class ImageFiles : public testing::Test {
 protected:
  void write(const std::string& name, uint64_t id, int width, int height) {
    make_folder((folder_ / name).parent_path());
    const auto bytes = encode_jpeg(made_image(id, static_cast<uint32_t>(id % 4), width, height), 95);
    OutputFile file(folder_ / name);
    file.write(bytes);
    file.commit();
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  TempDir folder_;
  AugmentOptions options_{.size = 24, .resize = 24};
};

TEST_F(ImageFiles, FindsFilesAndTheImagesInFolders) {
  write("in/b.JPG", 1, 30, 30);
  write("in/deep/a.jpeg", 2, 30, 30);
  write_text(folder_ / "in/note.txt", "x");
  write_text(folder_ / "in/c.png", "x");
  const auto paths = image_paths({path("other.bin"), path("in")});
  ASSERT_EQ(paths.size(), 4u);
  EXPECT_EQ(paths[0], path("other.bin"));
  EXPECT_EQ(paths[1], path("in/b.JPG"));
  EXPECT_EQ(paths[2], path("in/c.png"));
  EXPECT_EQ(paths[3], path("in/deep/a.jpeg"));
  make_folder(folder_ / "empty");
  EXPECT_THROW(image_paths({path("empty")}), UsageError);
}

TEST_F(ImageFiles, ABadFileGivesZerosAndDoesNotAffectOthers) {
  constexpr size_t kImage = 24 * 24 * 3;
  std::vector<fs::path> paths;
  for (int i = 0; i < 20; ++i) {
    write(std::to_string(i) + ".jpg", static_cast<uint64_t>(i), 24 + i, 40);
    paths.emplace_back(path(std::to_string(i) + ".jpg"));
  }
  write_text(paths[7], read_text(paths[7]).substr(0, 200));
  paths[11] = path("missing.jpg");
  std::vector<uint8_t> one(20 * kImage, 1), four(20 * kImage, 2);
  const auto prepared = prepare_images(paths, options_, 1, one);
  prepare_images(paths, options_, 4, four);
  EXPECT_EQ(one, four);
  for (size_t i = 0; i < 20; ++i) {
    const bool bad = i == 7 || i == 11;
    EXPECT_EQ(prepared[i].problem.empty(), !bad) << i;
    const auto begin = one.begin() + static_cast<ptrdiff_t>(i * kImage);
    EXPECT_EQ(std::all_of(begin, begin + kImage, [](uint8_t v) { return v == 0; }), bad) << i;
    if (bad) continue;
    EXPECT_EQ(prepared[i].width, 24 + static_cast<int>(i));
    EXPECT_EQ(prepared[i].height, 40);
  }
}

}  // namespace
}  // namespace packhorse::test
