// Training continues from a checkpoint of an older version, and evaluate and predict use it, exactly as if it had been
// written by this version. tests/checkpoint/files/README.md says how the files were made.
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_folder.h"
#include "classes/class_table.h"
#include "image/resample.h"
#include "record/shard_reader.h"
#include "results/evaluation.h"
#include "support/images.h"
#include "support/project.h"
#include "support/state_arrays.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class OlderCheckpoints : public ::testing::TestWithParam<int> {
 protected:
  OlderCheckpoints() : older_(source_path("tests/checkpoint/files/schema-" + std::to_string(GetParam()) + ".h5")) {
    pack();
    write_again(older_, newer_);
  }

  /// The shards that it was trained on, with a manifest as pack writes it today.
  void pack() const {
    const fs::path folder = project_ / "run/pack";
    fs::create_directories(folder.parent_path());
    fs::copy(source_path("tests/checkpoint/files/pack"), folder);
    StageManifest manifest;
    manifest.stage = "pack";
    manifest.command = {"made by a test"};
    manifest.dataset = {{"schema", kDatasetSchema}, {"name", "run"}};
    manifest.dataset_folder = project_ / ".";
    for (const std::string split : {"train", "validation"}) {
      const fs::path rec = folder / (split + "-00000-of-00001.rec"), idx = folder / (split + "-00000-of-00001.idx");
      manifest.outputs.push_back(describe_file(split + "-shard", rec, ShardReader({{rec, idx}}).records()));
      manifest.outputs.push_back(describe_file(split + "-index", idx));
    }
    manifest.outputs.push_back(describe_file("class-table", folder / "classes.tsv", 10));
    manifest.classes_crc32c = ClassTable::load(folder / "classes.tsv").crc32c();
    manifest.save(folder);
  }

  /// The same state in a file of today's schema.
  static void write_again(const fs::path& from, const fs::path& to) {
    const CheckpointInfo info = read_checkpoint_info(from);
    const Graph graph = make_network(info.network, info.image_size, info.classes);
    std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count), momentum(weights.size());
    const std::vector<StateBuffer> state = {
        {"weights", weights}, {"statistics", statistics, true}, {"momentum", momentum}};
    load_checkpoint(from, graph, state);
    save_checkpoint(to, info, graph, to_save(state));
  }

  RunResult stage(const std::string& name, const std::vector<std::string>& arguments) const {
    return run_stage_command(name, arguments, 0, project_.options());
  }

  /// Runs the training whose first two steps are in `checkpoint` to step 6, past the end of its first epoch.
  RunResult train_from(const fs::path& checkpoint, const std::string& out) const {
    const CheckpointFolder checkpoints(project_ / (out + "/checkpoints"));
    make_folder(checkpoints.path());
    fs::copy_file(checkpoint, checkpoints.step_path(2));
    return stage("train", {"run/pack/manifest.json", "--out=" + out, "--network=inception-bn-small", "--image-size=16",
                           "--global-batch=4", "--epochs=2", "--lr=0.1", "--warmup-epochs=0.5", "--sched=multistep",
                           "--milestones=1", "--weight-decay=0.0005", "--precision=f32", "--crop=random-crop",
                           "--pad=1", "--hflip=0", "--mean=73", "--scale=0.011", "--threads=1", "--limit-steps=6"});
  }

  const Project project_;
  const fs::path older_, newer_ = project_ / "newer.h5";
};

TEST_P(OlderCheckpoints, AreContinuedAndUsed) {
  for (const auto& [checkpoint, out] : {std::pair(older_, "older"), std::pair(newer_, "newer")}) {
    const RunResult result = train_from(checkpoint, out);
    ASSERT_EQ(result.exit_code, 0) << result.all();
    EXPECT_NE(result.err.find("continues after step 2"), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("images were resampled by dct-triangle/1"), std::string::npos) << result.err;
    EXPECT_EQ(read_checkpoint_info(project_ / (std::string(out) + "/checkpoints/step-00000006.h5")).resampling,
              kResampling);
  }
  EXPECT_EQ(read_text(project_ / "older/checkpoints/step-00000006.h5"),
            read_text(project_ / "newer/checkpoints/step-00000006.h5"));

  write_bytes(project_ / "image.jpg", encode_jpeg(make_image(3, 0, 28, 28), 95));
  std::vector<std::string> predictions;
  std::vector<Evaluation> evaluations;
  for (const fs::path& checkpoint : {older_, newer_}) {
    const std::vector<std::string> arguments = {"older/manifest.json", "--checkpoint", checkpoint.string()};
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), arguments.begin(), arguments.end());
      return more;
    };
    const RunResult predicted = stage("predict", with({"image.jpg", "--json"}));
    ASSERT_EQ(predicted.exit_code, 0) << predicted.all();
    EXPECT_NE(predicted.err.find("images were resampled by dct-triangle/1"), std::string::npos) << predicted.err;
    predictions.push_back(predicted.out);
    const RunResult evaluated = stage("evaluate", with({"--out", "evaluate", "--replace"}));
    ASSERT_EQ(evaluated.exit_code, 0) << evaluated.all();
    EXPECT_NE(evaluated.err.find("images were resampled by dct-triangle/1"), std::string::npos) << evaluated.err;
    evaluations.push_back(read_evaluation(project_ / "evaluate/evaluation.h5"));
  }
  EXPECT_EQ(predictions[0], predictions[1]);
  EXPECT_EQ(Json::parse(predictions[0]).at("predictions").at(0).at("predictions").size(), 5U);
  EXPECT_EQ(evaluations[0].step, 2);
  EXPECT_EQ(evaluations[0].listed, 10U);
  EXPECT_EQ(evaluations[0].scopes.at(0).loss, evaluations[1].scopes.at(0).loss);
}

INSTANTIATE_TEST_SUITE_P(Schemas, OlderCheckpoints, ::testing::Values(1, 2));

}  // namespace
}  // namespace packhorse::test
