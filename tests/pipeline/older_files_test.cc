// Files of another Packhorse: each is refused by its schema and with what to do, and is never misread. (Only older
// checkpoints are read: older_checkpoints_test.cc.)
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "hdf5/hdf5_file.h"
#include "manifest/stage_manifest.h"
#include "results/evaluation.h"
#include "support/images.h"
#include "support/packed.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class OlderFiles : public ::testing::Test {
 protected:
  /// The stage must refuse its input: the schema found, the one read, and what to do are in the message.
  void refuses(const std::string& stage, const std::vector<std::string>& arguments, const std::string& found,
               const std::string& read, const std::string& hint) {
    const RunResult result = run_stage_command(stage, arguments, 0, project_.options());
    EXPECT_EQ(result.exit_code, 1) << result.all();
    for (const std::string& word : {found, read, hint, std::string("CHANGELOG.md")}) {
      EXPECT_NE(result.err.find(word), std::string::npos) << word << " in: " << result.err;
    }
  }
  void set_schema(const fs::path& path, const std::string& schema) {
    Json json = read_json(path);
    json["schema"] = schema;
    write_json(path, json);
  }
  Project project_;
};

TEST_F(OlderFiles, ADescription) {
  write_folders(project_ / "images", {.classes = 2, .per_class = 4});
  const std::string file = project_.describe("old", {{"source", "images"}}, {{"per_class", 1}});
  set_schema(project_ / file, "packhorse/dataset/1");
  refuses("list", {file}, "packhorse/dataset/1", kDatasetSchema, "write \"schema\"");
  set_schema(project_ / file, "packhorse/dataset/99");
  refuses("list", {file}, "a newer", kDatasetSchema, "packhorse/dataset/99");
  const RunResult job = project_.shell("bash jobs/pack.sbatch " + file);
  EXPECT_EQ(job.exit_code, 1) << "the job file also takes it for a description";
  EXPECT_NE(job.err.find("packhorse/dataset/99"), std::string::npos) << job.all();
}

TEST_F(OlderFiles, AStagesManifest) {
  const fs::path pack = write_packed(project_ / "run", {}, {.records = 8});
  set_schema(pack, "packhorse/stage/1");
  for (const char* stage : {"train", "verify", "export"}) {
    refuses(stage, {pack.string()}, "packhorse/stage/1", kStageSchema, "run the stage again");
  }
}

TEST_F(OlderFiles, ANewerCheckpointAmongTheRuns) {
  const fs::path pack = write_packed(project_ / "run", {}, {});
  const fs::path checkpoint = project_ / "run/train/checkpoints/step-00000003.h5";
  make_folder(checkpoint.parent_path());
  Hdf5Writer writer(checkpoint);
  writer.attribute("", "schema", std::string("packhorse/checkpoint/99"));
  writer.commit();
  refuses("train", {pack.string(), "--network", "inception-bn-small", "--image-size", "28", "--global-batch", "10"},
          "a newer Packhorse: its schema is packhorse/checkpoint/99", kCheckpointSchema, "train again");
  EXPECT_TRUE(fs::exists(checkpoint)) << "it must not be removed";
}

TEST_F(OlderFiles, AnEvaluation) {
  const fs::path file = project_ / "evaluation.h5";
  Hdf5Writer writer(file);
  writer.attribute("", "schema", std::string("packhorse/evaluation/7"));
  writer.commit();
  try {
    read_evaluation(file);
    ADD_FAILURE() << "it was read";
  } catch (const DamageError&) {
    ADD_FAILURE() << "an intact file of another version is no damage";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("packhorse/evaluation/7"), std::string::npos) << error.what();
  }
}

TEST_F(OlderFiles, AJournal) {
  const fs::path pack = write_packed(project_ / "run", {}, {});
  const std::string step = R"({"kind":"step","step":1,"loss":2.5})";
  write_text(project_ / "newer.jsonl", R"({"kind":"run","schema":"packhorse/journal/2"})"
                                       "\n" +
                                           step + "\n");
  refuses("export", {pack.string(), "--journal", "newer.jsonl"}, "packhorse/journal/2", "packhorse/journal/1", "newer");
  // 0.1 wrote no schema; its lines mean the same.
  write_text(project_ / "0.1.jsonl", R"({"kind":"run","step":0})"
                                     "\n" +
                                         step + "\n");
  const RunResult result =
      run_stage_command("export", {pack.string(), "--journal", "0.1.jsonl", "--out", "out"}, 0, project_.options());
  EXPECT_EQ(result.exit_code, 0) << result.all();
  EXPECT_EQ(Hdf5Reader(project_ / "out/metrics.h5").doubles("steps/loss"), std::vector<double>{2.5});
}

}  // namespace
}  // namespace packhorse::test
