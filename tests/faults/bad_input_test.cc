// Wrong input is refused with a message that names it and a non-zero exit code; it never causes a crash, a hang or a
// silent skip.
#include <sys/mount.h>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

/// Changes one bit in the middle of a file.
void flip_bit(const fs::path& path) {
  std::string bytes = read_text(path);
  bytes[bytes.size() / 2] ^= 4;
  write_text(path, bytes);
}

class BadInput : public ::testing::Test {
 protected:
  RunResult stage(const std::string& name, const std::vector<std::string>& arguments, int ranks = 0) {
    return run_stage_command(name, arguments, ranks, project_.options({}, 120));
  }
  /// The stage fails by itself (no signal), and its message contains each of the words.
  void refused(const RunResult& result, const std::vector<std::string>& words) {
    EXPECT_LT(result.exit_code, 128) << result.all();
    fails_with(result, words);
  }
  /// Like refused(), but under mpirun, which itself may crash (PMIx 4.2, rarely) while it cleans up after an abort;
  /// then its exit code is not the stage's.
  static void fails_with(const RunResult& result, const std::vector<std::string>& words) {
    EXPECT_GT(result.exit_code, 0) << result.all();
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << word << " is not in:\n" << result.err;
  }
  void runs(const std::string& name, const std::vector<std::string>& arguments) {
    const RunResult result = stage(name, arguments);
    ASSERT_EQ(result.exit_code, 0) << result.all();
  }
  std::string describe(const std::string& source) {
    return project_.describe("bad", {{"source", source}}, {{"per_class", 2}});
  }
  void list() {
    write_folders(project_ / "images", {.classes = 4, .per_class = 12});
    runs("list", {describe("images")});
  }
  void pack() {
    list();
    runs("pack", {kList});
  }
  void train() {
    pack();
    runs("train", {kPack});
  }

  static constexpr const char* kList = "runs/bad/list/manifest.json";
  static constexpr const char* kPack = "runs/bad/pack/manifest.json";
  static constexpr const char* kTrain = "runs/bad/train/manifest.json";
  Project project_;
};

TEST_F(BadInput, MissingPath) {
  refused(stage("list", {"not-there.json"}), {"not-there.json"});
  refused(stage("list", {describe("not-there")}), {"not-there"});
  refused(stage("pack", {"runs/not-there/manifest.json"}), {"runs/not-there/manifest.json"});
  refused(project_.shell("bash jobs/pack.sbatch not-there.json"), {"not-there.json"});
}

TEST_F(BadInput, VariableThatIsNotSet) {
  refused(stage("list", {describe("${NO_SUCH_VARIABLE}/x")}), {"NO_SUCH_VARIABLE"});
}

TEST_F(BadInput, DescriptionThatIsNotJson) {
  write_text(project_ / "bad.json", "{\"schema\": \"packhorse/dataset/2\",\n  name: }");
  refused(stage("list", {"bad.json"}), {"bad.json", "line 2"});
}

// A mistake must not change what is done without a word.
TEST_F(BadInput, DescriptionWithMembersThatAreNotItsOwn) {
  write_folders(project_ / "images", {.classes = 3, .per_class = 6});
  const Json good = {{"schema", kDatasetSchema}, {"name", "bad"}, {"train", {{"source", "images"}}}};
  const std::vector<std::pair<Json, std::vector<std::string>>> mistakes = {
      {{{"validation", {{"fractoin", 0.1}}}}, {"'fractoin'", "did you mean 'fraction'?"}},
      {{{"validation", {{"per_class", -1}}}}, {"'per_class' cannot be -1"}},
      {{{"validation", {{"per_class", 2.9}}}}, {"'per_class' cannot be 2.9"}},
      {{{"validation", {{"fraction", 1.5}}}}, {"from 0 to 0.9"}},
      {{{"validation", {{"fraction", 0.1}, {"per_class", 2}}}}, {"exclude each other"}},
      {{{"validation", {{"source", "images"}, {"per_class", 2}}}}, {"exclude each other"}},
      {{{"validation", {{"ground_truth", "x.txt"}}}}, {"'ground_truth' has no 'source'"}},
      {{{"validation", 3}}, {"'validation' cannot be 3"}},
      {{{"expect", {{"imgs", 3}}}}, {"'imgs'", "expect"}},
      {{{"stages", {{"trian", {{"epochs", 3}}}}}}, {"'trian'", "did you mean train?"}},
      {{{"name", "a/b"}}, {"'name' cannot be"}},
      {{{"name", ".."}}, {"'name' cannot be"}},
      {{{"train", {{"source", 3}}}}, {"'source' cannot be 3"}},
      {{{"clases", "c.tsv"}}, {"did you mean 'classes'?"}}};
  for (const auto& [mistake, words] : mistakes) {
    Json description = good;
    description.merge_patch(mistake);
    write_json(project_ / "bad.json", description);
    refused(stage("list", {"bad.json"}), words);
  }
  EXPECT_FALSE(fs::exists(project_ / "runs"));
}

TEST_F(BadInput, JsonThatIsNestedWithoutEnd) {
  for (const size_t depth : {size_t{100}, size_t{100'000}}) {
    write_text(project_ / "bad.json", std::string(depth, '['));
    refused(stage("list", {"bad.json"}), {"bad.json", "nested"});
    write_text(project_ / "bad.json", "{\"schema\": \"packhorse/dataset/2\", \"name\": \"bad\", \"train\": " +
                                          std::string(depth, '[') + std::string(depth, ']') + "}");
    refused(stage("list", {"bad.json"}), {"bad.json", "nested"});
  }
}

// What was printed must have arrived.
TEST_F(BadInput, StandardOutputOnAFullDisk) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full here";
  pack();
  for (const std::string command :
       {"packhorse-list --help", "packhorse-train --version", "packhorse-list bad.json --print-out",
        "packhorse-verify runs/bad/pack/train-00000-of-00003.rec --show",
        "packhorse-pack runs/bad/list/manifest.json --plan-json"}) {
    const RunResult result = project_.shell("build/bin/" + command + " >/dev/full");
    EXPECT_EQ(result.exit_code, 1) << command << result.all();
    EXPECT_NE(result.err.find("standard output could not be written"), std::string::npos) << command << result.err;
  }
}

TEST_F(BadInput, EmptyClassFolder) {
  write_folders(project_ / "images", {.classes = 3, .per_class = 6});
  make_folder(project_ / "images/class_empty");
  refused(stage("list", {describe("images")}), {"class_empty"});
}

TEST_F(BadInput, TarCutShort) {
  write_tar_of_tars(project_ / "images.tar", {.classes = 3, .per_class = 60});
  for (const double part : {0.2, 0.5, 0.9}) {
    const fs::path cut = project_ / "cut.tar";
    fs::copy_file(project_ / "images.tar", cut, fs::copy_options::overwrite_existing);
    // Cut inside a member and on a 512-byte boundary: both must be detected.
    const auto bytes = static_cast<uint64_t>(part * static_cast<double>(fs::file_size(cut)));
    for (const uint64_t size : {bytes, bytes / 512 * 512}) {
      fs::resize_file(cut, size);
      refused(stage("list", {describe("cut.tar")}), {"cut.tar"});
    }
  }
}

TEST_F(BadInput, InputChangedAfterTheStageThatMadeIt) {
  list();
  write_text(project_ / "runs/bad/list/train.lst", read_text(project_ / "runs/bad/list/train.lst") + "\n");
  refused(stage("pack", {kList}), {"train.lst"});
}

TEST_F(BadInput, ClassTableThatDoesNotMatch) {
  pack();
  // Swap two classes and update the file's size and checksum in the manifest: only the class table's own checksum can
  // detect it.
  const fs::path table = project_ / "runs/bad/pack/classes.tsv", manifest = project_ / kPack;
  std::string text = read_text(table);
  std::swap(text[text.find("class_0000") + 9], text[text.find("class_0001") + 9]);
  write_text(table, text);
  Json json = read_json(manifest);
  for (Json& entry : json["outputs"]) {
    if (entry["role"] != "class-table") continue;
    const FileFacts facts = file_facts(table);
    entry["bytes"] = facts.bytes;
    entry["crc32c"] = crc32c_text(facts.crc32c);
  }
  write_json(manifest, json);
  refused(stage("train", {kPack}), {"class"});
}

TEST_F(BadInput, ShardWithAFlippedBit) {
  pack();
  const fs::path shard = project_.manifest("bad", "pack").outputs_of("train-shard").front().path;
  flip_bit(shard);
  refused(stage("verify", {kPack}), {shard.filename().string()});
  refused(stage("train", {kPack}), {shard.filename().string()});
}

TEST_F(BadInput, CheckpointOfAnotherNetwork) {
  train();
  // The same folder with another network: the checkpoint does not fit.
  fs::remove(project_ / kTrain);
  refused(stage("train", {kPack, "--network", "resnet-50", "--image-size", "64"}), {"other settings", "network"});
}

TEST_F(BadInput, UnknownOptionOrSetting) {
  for (const char* name : {"list", "pack", "verify", "train", "evaluate", "export", "predict"}) {
    const RunResult result = stage(name, {"x.json", "x.jpg", "--no-such-option"});
    refused(result, {"no-such-option"});
    EXPECT_EQ(result.exit_code, 2);
  }
  write_folders(project_ / "images", {.classes = 2, .per_class = 6});
  const std::string file =
      project_.describe("bad", {{"source", "images"}}, {{"per_class", 2}}, {{"list", {{"no-such-setting", 1}}}});
  refused(stage("list", {file}), {"no-such-setting"});
}

TEST_F(BadInput, ManifestOfTheWrongStage) {
  list();
  refused(stage("train", {kList}), {"train", "list"});
  refused(stage("export", {kList}), {"export", "list"});
}

TEST_F(BadInput, FolderThatCannotBeCreated) {
  list();
  // There is a file in place of the folder: that stops root too, unlike permissions.
  write_text(project_ / "taken", "");
  refused(stage("pack", {kList, "--out", "taken/pack"}), {"taken/pack"});
  refused(stage("pack", {kList, "--out", "/proc/packhorse"}), {"/proc/packhorse"});
}

/// A file system of 1 MB, if this process may mount one.
class SmallDisk {
 public:
  explicit SmallDisk(const fs::path& where) : where_(where) {
    make_folder(where);
    mounted_ = mount("none", where.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(where_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  fs::path where_;
  bool mounted_ = false;
};

TEST_F(BadInput, FullDisk) {
  write_folders(project_ / "images", {.classes = 4, .per_class = 60, .smallest = 200, .largest = 200});
  runs("list", {describe("images")});
  const SmallDisk disk(project_ / "small");
  if (!disk.mounted()) GTEST_SKIP() << "this process may not mount a file system";
  for (const int ranks : {0, 2}) {
    const RunResult result = stage("pack", {kList, "--out", "small/pack"}, ranks);
    ranks == 0 ? refused(result, {"small/pack", "No space left"}) : fails_with(result, {"small/pack", "No space left"});
    EXPECT_FALSE(fs::exists(project_ / "small/pack/manifest.json")) << "a failed stage must not count as done";
  }
}

}  // namespace
}  // namespace packhorse::test
