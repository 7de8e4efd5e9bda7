// The results of evaluate, export and predict for one trained network, compared with each other and with the images.
#include <map>

#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "hdf5/hdf5_file.h"
#include "image/resample.h"
#include "manifest/image_list.h"
#include "metrics/journal.h"
#include "results/evaluation.h"
#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

/// WordNet ids, so that there is a hierarchy: T-shirt is under shirt.
const std::vector<std::string> kIds{"n02774152", "n03236735", "n03472535", "n03595614", "n04197391", "n04489008"};

class Results : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    project_ = new Project;
    write_classes("images", kIds, 30);
    const std::string file = project_->describe("results", {{"source", "images"}}, {{"per_class", 9}},
                                                {{"train", {{"epochs", 2}, {"global-batch", 20}}}});
    ok("list", {file});
    ok("pack", {"runs/results/list/manifest.json"});
    ok("train", {"runs/results/pack/manifest.json", "--log-interval", "1", "--threads", "1"});
  }
  static void TearDownTestSuite() {
    delete project_;
    project_ = nullptr;
  }

  static void write_classes(const std::string& root, const std::vector<std::string>& ids, uint32_t count) {
    for (uint32_t label = 0; label < ids.size(); ++label) {
      for (uint32_t i = 0; i < count; ++i) {
        write_bytes(*project_ / (root + "/" + ids[label] + "/" + std::to_string(i) + ".jpg"),
                    encode_jpeg(make_image(label, i, 28, 28), 95));
      }
    }
  }
  static RunResult stage(const std::string& name, const std::vector<std::string>& arguments, int ranks = 0) {
    return run_stage_command(name, arguments, ranks, project_->options());
  }
  static RunResult ok(const std::string& name, const std::vector<std::string>& arguments, int ranks = 0) {
    RunResult result = stage(name, arguments, ranks);
    EXPECT_EQ(result.exit_code, 0) << name << "\n" << result.all();
    return result;
  }
  /// Evaluates into the folder `out` and reads the evaluation.
  static Evaluation evaluated(const std::string& out, std::vector<std::string> options = {}, int ranks = 0) {
    std::vector<std::string> arguments{kTrain, "--out", out, "--threads", "1", "--batch-size", "8"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    ok("evaluate", arguments, ranks);
    return read_evaluation(*project_ / (out + "/evaluation.h5"));
  }

  static constexpr const char* kTrain = "runs/results/train/manifest.json";
  static constexpr const char* kPack = "runs/results/pack/manifest.json";
  static constexpr uint64_t kImages = 54;
  static inline Project* project_ = nullptr;
};

TEST_F(Results, EvaluationDoesNotDependOnTheNumberOfRanks) {
  evaluated("one");
  const std::string one = read_text(*project_ / "one/evaluation.h5");
  for (const int ranks : {2, 3}) {
    evaluated("many", {}, ranks);
    EXPECT_TRUE(one == read_text(*project_ / "many/evaluation.h5")) << ranks << " ranks";
  }
  ok("evaluate", {"one/manifest.json"});
  EXPECT_TRUE(one == read_text(*project_ / "one/evaluation.h5")) << "the repeated evaluation differs";
}

TEST_F(Results, PredictGivesTheSameCountsAsEvaluate) {
  const Evaluation evaluation = evaluated("whole");
  ASSERT_EQ(evaluation.scopes.size(), 1u);
  const ScopeResult& all = evaluation.scopes[0];
  EXPECT_EQ(evaluation.listed, kImages);
  EXPECT_EQ(all.images, kImages);
  // The shards hold the unchanged bytes of the images, so predicting the files must give the same counts.
  std::vector<std::string> arguments{kTrain};
  std::map<std::string, std::string> labels;
  for (const ImageEntry& entry : read_image_list(*project_ / "runs/results/list/validation.lst")) {
    const std::string path = (*project_ / ("images/" + entry.path)).string();
    arguments.push_back(path);
    labels[path] = kIds[entry.label];
  }
  arguments.insert(arguments.end(), {"--json", "--topk", "5", "--threads", "1"});
  uint64_t top1 = 0, top5 = 0;
  const Json predicted = Json::parse(ok("predict", arguments).out);
  for (const Json& seen : predicted["predictions"]) {
    const std::string& id = labels.at(seen["image"].get<std::string>());
    double sum = 0;
    for (size_t i = 0; i < seen["predictions"].size(); ++i) {
      top1 += i == 0 && seen["predictions"][i]["id"] == id ? 1 : 0;
      top5 += seen["predictions"][i]["id"] == id ? 1 : 0;
      sum += seen["predictions"][i]["probability"].get<double>();
    }
    EXPECT_LE(sum, 1 + 1e-12);
  }
  ASSERT_EQ(labels.size(), kImages);
  EXPECT_EQ(all.accuracy[0], static_cast<double>(top1) / kImages);
  EXPECT_EQ(all.accuracy[1], static_cast<double>(top5) / kImages);
  EXPECT_EQ(all.accuracy[2], 1);  // top-20 of six classes
  int64_t by_class = 0, right = 0, wrong = 0;
  for (const int64_t images : all.class_images) by_class += images;
  for (const int64_t images : all.class_top1) right += images;
  for (const auto& pair : all.confusions) wrong += static_cast<int64_t>(pair.images);
  EXPECT_EQ(by_class, static_cast<int64_t>(kImages));
  EXPECT_EQ(right, static_cast<int64_t>(top1));
  EXPECT_EQ(right + wrong, by_class);
  EXPECT_GE(all.hierarchical, all.accuracy[0]);
}

TEST_F(Results, ASubsetCountsTheImagesOutsideIt) {
  write_text(*project_ / "subset.txt", "n03595614\nn04197391\nn99999999\n");
  const Evaluation evaluation = evaluated("subset", {"--subset", "subset.txt"});
  ASSERT_EQ(evaluation.scopes.size(), 2u);
  EXPECT_EQ(evaluation.scopes[1].classes, 2u);
  EXPECT_EQ(evaluation.scopes[1].images, 18u);
  EXPECT_EQ(evaluation.scopes[1].outside, 36u);
  EXPECT_EQ(evaluation.scopes[1].accuracy[1], 1);
  EXPECT_EQ(evaluation.fact("subset_missing"), "n99999999");
  // The classes under 'shirt' are the same two.
  const Evaluation under = evaluated("under", {"--under", "n04197391"});
  EXPECT_EQ(under.scopes[1].accuracy, evaluation.scopes[1].accuracy);
  EXPECT_EQ(under.scopes[1].loss, evaluation.scopes[1].loss);
  // Its own manifest repeats it from any folder.
  RunOptions elsewhere = project_->options();
  elsewhere.folder = "/";
  const RunResult again =
      run_stage_command("evaluate", {(*project_ / "subset/manifest.json").string(), "--threads", "1"}, 0, elsewhere);
  EXPECT_EQ(again.exit_code, 0) << again.all();
  EXPECT_NE(stage("evaluate", {kTrain, "--subset", "subset.txt", "--under", "n04197391"}).exit_code, 0);
}

TEST_F(Results, OtherShardsAreEvaluatedByClassId) {
  // The same images, with the classes in another order and a class that the network does not have.
  write_classes("other/x", {"n99999998"}, 5);
  fs::rename(*project_ / "other/x/n99999998", *project_ / "other/n00000001");
  fs::remove(*project_ / "other/x");
  for (const std::string& id : kIds) {
    fs::copy(*project_ / ("images/" + id), *project_ / ("other/" + id), fs::copy_options::recursive);
  }
  const std::string file = project_->describe("other", {{"source", "other"}}, {{"per_class", 1}});
  ok("list", {file});
  ok("pack", {"runs/other/list/manifest.json"});
  const Evaluation mine = evaluated("mine", {"--split", "train"});
  const Evaluation theirs = evaluated("theirs", {"--data", "runs/other/pack/manifest.json", "--split", "train"});
  EXPECT_EQ(theirs.listed, 6u * 29 + 4);
  EXPECT_EQ(theirs.scopes[0].images, 6u * 29);
  EXPECT_EQ(theirs.scopes[0].outside, 4u);
  EXPECT_GT(theirs.scopes[0].accuracy[0], mine.scopes[0].accuracy[0] - 0.1);  // the new class must not shift the labels
}

// With another split, images of the training would be among those of the evaluation.
TEST_F(Results, ImagesThatWerePackedAgainAreNotEvaluatedWithoutAWord) {
  const TempDir copy;
  fs::copy(*project_ / "runs", copy / "runs", fs::copy_options::recursive);
  write_folders(copy / "others", {.classes = 6, .per_class = 12});
  RunOptions there = project_->options();
  there.folder = copy.path();
  const auto run = [&](const std::string& stage, const std::vector<std::string>& arguments) {
    return run_stage_command(stage, arguments, 0, there);
  };
  const RunResult packed = run("pack", {"runs/results/list/manifest.json", "--resize", "24", "--replace",
                                        "--train-source", (*project_ / "images").string()});
  ASSERT_EQ(packed.exit_code, 0) << packed.all();
  const RunResult refused = run("evaluate", {"runs/results/train/manifest.json", "--name", "again"});
  EXPECT_EQ(refused.exit_code, 1) << refused.all();
  EXPECT_NE(refused.err.find("the images were packed again, and differently"), std::string::npos) << refused.err;
  const RunResult asked = run(
      "evaluate", {"runs/results/train/manifest.json", "--name", "again", "--data", "runs/results/pack/manifest.json"});
  EXPECT_EQ(asked.exit_code, 0) << asked.all();

  write_json(copy / "others.json", {{"schema", kDatasetSchema},
                                    {"name", "others"},
                                    {"train", {{"source", "others"}}},
                                    {"validation", {{"per_class", 2}}}});
  ASSERT_EQ(run("list", {"others.json"}).exit_code, 0);
  ASSERT_EQ(run("pack", {"runs/others/list/manifest.json", "--shards", "1"}).exit_code, 0);
  const RunResult none = run(
      "evaluate", {"runs/results/train/manifest.json", "--name", "others", "--data", "runs/others/pack/manifest.json"});
  EXPECT_EQ(none.exit_code, 2) << none.all();
  EXPECT_NE(none.err.find("none of the images' classes is among those of the network"), std::string::npos) << none.err;
}

TEST_F(Results, ManifestsSayWithWhatTheNetworkWasComputed) {
  const std::string trained = project_->manifest("results", "train").backend;
  EXPECT_TRUE(trained.starts_with("cpu backend: kernels ")) << trained;
  const size_t library = trained.find("oneDNN ");
  ASSERT_NE(library, std::string::npos) << trained;
  EXPECT_TRUE(std::isdigit(trained.at(library + 7)) != 0) << "its version: " << trained;
  evaluated("computed");
  EXPECT_EQ(StageManifest::load(*project_ / "computed/manifest.json").backend, trained);
  EXPECT_EQ(project_->manifest("results", "pack").backend, "");
}

TEST_F(Results, EveryStageSaysHowImagesWereResampled) {
  const StageManifest train = project_->manifest("results", "train");
  EXPECT_EQ(train.resampling, kResampling);
  EXPECT_EQ(read_checkpoint_info(train.output_of("checkpoint-last").path).resampling, kResampling);
  EXPECT_EQ(project_->manifest("results", "pack").resampling, "") << "it kept the images' bytes";
  EXPECT_EQ(evaluated("resampled").fact("resampling"), kResampling);
  EXPECT_EQ(StageManifest::load(*project_ / "resampled/manifest.json").resampling, kResampling);
  const RunResult predicted = ok("predict", {kTrain, "images/n02774152/0.jpg", "--out", "resampled-files", "--json"});
  EXPECT_EQ(StageManifest::load(*project_ / "resampled-files/manifest.json").resampling, kResampling);
  EXPECT_EQ(Json::parse(predicted.out)["resampling"], kResampling);
  EXPECT_EQ(predicted.err.find("resampled by"), std::string::npos) << "there is no other: " << predicted.err;
}

TEST_F(Results, ExportHoldsTheJournalAndTheEvaluation) {
  const Evaluation evaluation = evaluated("for-export");
  ok("export", {"for-export/manifest.json", "--out", "exported"});
  const Hdf5Reader metrics(*project_ / "exported/metrics.h5");
  std::vector<int64_t> steps;
  std::vector<double> losses, top1;
  for (const Json& line : read_journal(project_->manifest("results", "train").output_of("journal").path)) {
    if (line["kind"] == "step") {
      steps.push_back(line["step"].get<int64_t>());
      losses.push_back(line["loss"].get<double>());
    }
    if (line["kind"] == "validation") top1.push_back(line["top1"].get<double>());
  }
  EXPECT_EQ(steps.size(), 2u * (126 / 20));
  EXPECT_EQ(metrics.integers("steps/step"), steps);
  EXPECT_EQ(metrics.doubles("steps/loss"), losses);
  EXPECT_EQ(metrics.doubles("validation/top1"), top1);
  EXPECT_EQ(metrics.real_attribute("evaluation/all", "top1"), evaluation.scopes[0].accuracy[0]);
  EXPECT_EQ(Json::parse(metrics.text_attribute("", "settings"))["network"], "inception-bn-small");
  const std::string page = read_text(*project_ / "exported/report.html");
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("data:image/jpeg;base64,"), std::string::npos);
  EXPECT_EQ(read_text(*project_ / "exported/metrics.csv").find("table,"), 0u);
  const auto dump = project_->shell("h5dump -d steps/loss exported/metrics.h5");
  EXPECT_EQ(dump.exit_code, 0) << dump.all();

  // Without an evaluation, and from the manifest of pack, as while training runs (there is no manifest of train yet).
  ok("export", {kTrain, "--out", "of-training"});
  ok("export", {kPack, "--out", "so-far"});
  EXPECT_EQ(Hdf5Reader(*project_ / "so-far/metrics.h5").doubles("steps/loss"), losses);
}

TEST_F(Results, ADamagedEvaluationOrCheckpointIsRefused) {
  evaluated("damaged");
  std::string text = read_text(*project_ / "damaged/evaluation.h5");
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
  write_text(*project_ / "damaged/evaluation.h5", text);
  const RunResult exported = stage("export", {"damaged/manifest.json", "--out", "from-damaged"});
  EXPECT_EQ(exported.exit_code, 1);
  EXPECT_NE(exported.err.find("evaluation.h5"), std::string::npos) << exported.err;
  EXPECT_FALSE(fs::exists(*project_ / "from-damaged/manifest.json"));

  text = read_text(project_->manifest("results", "train").output_of("checkpoint-last").path);
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
  write_text(*project_ / "damaged.h5", text);
  for (const char* name : {"evaluate", "predict"}) {
    std::vector<std::string> arguments{kTrain, "--checkpoint", "damaged.h5"};
    if (std::string(name) == "predict") arguments.push_back("images/n02774152/0.jpg");
    const RunResult refused = stage(name, arguments);
    EXPECT_EQ(refused.exit_code, 1);
    EXPECT_NE(refused.err.find("damaged.h5"), std::string::npos) << refused.err;
  }
}

TEST_F(Results, PredictContinuesAfterABadImage) {
  make_folder(*project_ / "mixed");
  write_text(*project_ / "mixed/bad.jpg", read_text(*project_ / "images/n02774152/1.jpg").substr(0, 300));
  fs::copy_file(*project_ / "images/n02774152/0.jpg", *project_ / "mixed/good.jpg");
  const RunResult seen =
      stage("predict", {kTrain, "mixed", "nowhere.jpg", "--features", "features.h5", "--out", "seen"});
  EXPECT_EQ(seen.exit_code, 1);
  EXPECT_NE(seen.err.find("bad.jpg"), std::string::npos);
  EXPECT_NE(seen.err.find("nowhere.jpg"), std::string::npos);
  EXPECT_NE(seen.out.find("good.jpg"), std::string::npos);
  EXPECT_NE(seen.out.find("predicted 1 of 3 images"), std::string::npos) << seen.out;
  const Hdf5Reader features(*project_ / "seen/features.h5");
  EXPECT_EQ(features.shape("features")[0], 3);
  EXPECT_EQ(features.integers("read"), (std::vector<int64_t>{0, 1, 0}));
  const StageManifest manifest = StageManifest::load(*project_ / "seen/manifest.json");
  EXPECT_EQ(manifest.counts["unread"], 2);
  EXPECT_EQ(Json::parse(read_text(*project_ / "seen/predictions.json"))["predictions"].size(), 3u);
}

// The journal that belongs to a finished run has the checksum that its manifest states.
TEST_F(Results, ExportRefusesAJournalThatWasChanged) {
  const fs::path journal = *project_ / "runs/results/train/metrics.jsonl";
  const std::string text = read_text(journal);
  write_text(journal, text.substr(0, text.size() / 2));
  const RunResult refused = stage("export", {kTrain, "--out", "changed"});
  write_text(journal, text);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("metrics.jsonl"), std::string::npos) << refused.err;
  ok("export", {kTrain, "--out", "changed"});
}

TEST_F(Results, ExportEndsOnAManifestThatNamesItself) {
  Json manifest = read_json(*project_ / "runs/results/train/manifest.json");
  for (const char* list : {"inputs", "outputs"}) {
    for (Json& file : manifest[list])
      file["path"] =
          file["role"] == "manifest" ? "manifest.json" : "../runs/results/train/" + file["path"].get<std::string>();
  }
  make_folder(*project_ / "circle");
  write_json(*project_ / "circle/manifest.json", manifest);
  EXPECT_EQ(run_stage_command("export", {"circle"}, 0, project_->options({}, 60)).exit_code, 0);
}

// Its own manifest repeats a prediction, as that of any stage does.
TEST_F(Results, PredictIsRepeatedFromItsManifest) {
  const fs::path seen = *project_ / "again";
  ok("predict", {kTrain, "images/n02774152/0.jpg", "images/n02774152/1.jpg", "--topk", "2", "--out", "again"});
  const std::string first = read_text(seen / "predictions.json");
  std::vector<std::string> images;
  for (const FileEntry& file : StageManifest::load(seen / "manifest.json").inputs)
    if (file.role == "images") images.push_back(file.path.filename().string());
  EXPECT_EQ(images, (std::vector<std::string>{"0.jpg", "1.jpg"}));
  const RunResult again = ok("predict", {"again/manifest.json"});
  EXPECT_NE(again.err.find("the result is the same as before"), std::string::npos) << again.err;
  EXPECT_EQ(read_text(seen / "predictions.json"), first);
  ok("verify", {"again"});
  // A name that is no text comes back.
  fs::copy_file(*project_ / "images/n02774152/0.jpg", *project_ / "odd\xff%20.jpg");
  ok("predict", {kTrain, "odd\xff%20.jpg", "--out", "odd"});
  EXPECT_EQ(read_json(*project_ / "odd/predictions.json")["predictions"][0]["image"], "odd%FF%2520.jpg");
  ok("predict", {"odd"});
  const RunResult typed =
      stage("predict", {kTrain, "odd\xff%20.jpg", "--subset", "sub\xff.tsv", "--out", "odd-subset"});
  EXPECT_EQ(typed.exit_code, 2) << typed.all();
  EXPECT_NE(typed.err.find("'subset' is not text in UTF-8"), std::string::npos) << typed.err;
  // Another result by name, without --out.
  ok("predict", {kTrain, "images/n02774152", "--name", "bags"});
  EXPECT_EQ(StageManifest::load(*project_ / "runs/results/predict-bags/manifest.json").counts["predicted"], 30);
  const RunResult none = stage("predict", {kTrain});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("no images are given"), std::string::npos) << none.err;
  const RunResult piped = project_->shell(std::string("cat images/n02774152/0.jpg | build/bin/packhorse-predict ") +
                                          kTrain + " - --out piped-out");
  EXPECT_EQ(piped.exit_code, 0) << piped.all();
  const RunResult lost = stage("predict", {"piped-out"});
  EXPECT_EQ(lost.exit_code, 2);
  EXPECT_NE(lost.err.find("standard input"), std::string::npos) << lost.err;
  // An image that changed is not the same prediction.
  fs::copy_file(*project_ / "images/n02774152/2.jpg", *project_ / "mine.jpg");
  ok("predict", {kTrain, "mine.jpg", "--out", "mine-seen"});
  fs::copy_file(*project_ / "images/n02774152/3.jpg", *project_ / "mine.jpg", fs::copy_options::overwrite_existing);
  const RunResult changed = stage("predict", {"mine-seen"});
  EXPECT_EQ(changed.exit_code, 1);
  EXPECT_NE(changed.err.find("mine.jpg"), std::string::npos) << changed.err;
}

TEST_F(Results, PredictReadsStandardInput) {
  const std::string predict = std::string("build/bin/packhorse-predict ") + kTrain + " ";
  const auto names_of = [](const std::string& json) {
    std::vector<std::string> names;
    const Json seen = Json::parse(json);
    for (const Json& each : seen["predictions"]) names.push_back(each["image"]);
    return names;
  };
  const std::vector<std::string> folder = names_of(ok("predict", {kTrain, "images/n02774152", "--json"}).out);
  ASSERT_EQ(folder.size(), 30u);
  const RunResult listed = project_->shell("find images/n02774152 -type f | LC_ALL=C sort | " + predict + "- --json");
  EXPECT_EQ(listed.exit_code, 0) << listed.all();
  EXPECT_EQ(names_of(listed.out), folder);

  make_folder(*project_ / "piped");
  fs::copy_file(*project_ / "images/n02774152/0.jpg", *project_ / "piped/0.jpg");
  write_text(*project_ / "piped/README", "not an image");
  fs::create_symlink("gone.jpg", *project_ / "piped/link.jpg");
  const RunResult tar = project_->shell("tar -cf - piped | " + predict + "- --out from-tar");
  EXPECT_EQ(tar.exit_code, 0) << tar.all();
  EXPECT_NE(tar.out.find("-/piped/0.jpg (28 x 28)"), std::string::npos) << tar.out;
  EXPECT_NE(tar.out.find("predicted 1 of 1 image; skipped 2 (link in a tar: 1, not an image: 1), "), std::string::npos)
      << tar.out;
  EXPECT_EQ(read_text(*project_ / "from-tar/skipped.tsv"),
            "images\tnot an image\t-/piped/README\nimages\tlink in a tar\t-/piped/link.jpg\n");
  EXPECT_NE(read_text(*project_ / "from-tar/predictions.html").find("data:image/jpeg"), std::string::npos);
  const StageManifest manifest = StageManifest::load(*project_ / "from-tar/manifest.json");
  EXPECT_EQ(manifest.counts["found"], 3);
  EXPECT_EQ(manifest.counts["predicted"], 1);
  EXPECT_EQ(manifest.counts["skipped"], 2);
  ok("verify", {"from-tar/manifest.json"});

  const RunResult named = ok("predict", {kTrain, "piped"});
  EXPECT_NE(named.err.find("skipped piped/README (not an image)"), std::string::npos) << named.err;
  EXPECT_NE(named.err.find("skipped piped/link.jpg (dangling link)"), std::string::npos) << named.err;
  const RunResult link = stage("predict", {kTrain, "piped/link.jpg"});
  EXPECT_EQ(link.exit_code, 1);
  EXPECT_NE(link.err.find("a link to 'gone.jpg', where nothing is: piped/link.jpg"), std::string::npos) << link.err;
}

}  // namespace
}  // namespace packhorse::test
