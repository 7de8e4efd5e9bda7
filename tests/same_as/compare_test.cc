// The tool behind `make same-as` finds the smallest difference in each kind of file and names it, and finds none in
// files that are the same.
#include <cmath>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "hdf5/hdf5_file.h"
#include "metrics/journal.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

class Compare : public testing::Test {
 protected:
  Compare() {
    for (const char* side : {"this", "that"}) make_folder(folder_ / side);
  }

  RunResult compare(std::vector<std::string> names) const {
    std::vector<std::string> command = {source_path("build/tests/same_as/compare").string(), "sample",
                                        (folder_ / "this").string(), (folder_ / "that").string()};
    command.insert(command.end(), names.begin(), names.end());
    return run_command(command);
  }
  void expect_same(const std::vector<std::string>& names) const {
    const RunResult result = compare(names);
    EXPECT_EQ(result.exit_code, 0) << result.all();
    EXPECT_TRUE(result.out.starts_with("same    sample: ")) << result.all();
  }
  void expect_differs(const std::vector<std::string>& names, const std::string& message) const {
    const RunResult result = compare(names);
    EXPECT_EQ(result.exit_code, 1) << result.all();
    EXPECT_EQ(result.out, "DIFFERS sample: " + message + "\n") << result.err;
  }

  /// One weight differs from side to side, and the order in which the arrays are written.
  void write_checkpoint(const std::string& side, float weight, int64_t batches = 26) const {
    std::vector<float> weights(36, 0.5f);
    weights[7] = weight;
    Hdf5Writer file(folder_ / (side + "/step.h5"));
    const auto write = [&](const std::string& name) { file.write(name, weights, {4, 9}); };
    write(side == "this" ? "state/momentum/3a/conv/weight" : "state/weights/3a/conv/weight");
    write(side == "this" ? "state/weights/3a/conv/weight" : "state/momentum/3a/conv/weight");
    file.write("images", std::vector<int64_t>{1, int64_t{1} << 60}, {2});
    file.write("names", std::vector<std::string>{"shirt", "boot"});
    file.attribute("", "batches_taken", batches);
    file.commit();
  }
  /// The arrays of a checkpoint under the names of before schema 3, or of today, with the value of one number in each.
  void write_renamed(const std::string& side, bool older, float weight, float momentum, float mean, int64_t batches) {
    Hdf5Writer file(folder_ / (side + "/step.h5"));
    const std::string below = older ? "" : "state/";
    const auto write = [&](const std::string& name, float value) {
      file.write(below + name, std::vector<float>{value, 1}, {2});
    };
    write(older ? "parameters/fc/bias" : "weights/fc/bias", weight);
    write("momentum/fc/bias", momentum);
    write("statistics/1/bn/mean", mean);
    file.attribute("", older ? "step" : "batches_taken", batches);
    file.commit();
  }
  void write_journal(const std::string& side, double loss, double seconds) const {
    Journal journal(folder_ / (side + "/metrics.jsonl"));
    journal.append({{"kind", "run"}, {"step", 0}, {"time", seconds}});
    for (int step = 1; step <= 3; ++step)
      journal.append({{"kind", "step"}, {"step", step}, {"loss", loss / step}, {"top1", 0.1}, {"seconds", seconds}});
    journal.append({{"kind", "validation"}, {"step", 3}, {"loss", nullptr}, {"top1", 0.25}});
  }
  static Json predictions(double probability) {
    return Json::array(
        {{{"image", "shirt.jpg"},
          {"predictions", {{{"id", "n04197391"}, {"name", "shirt"}, {"label", 6}, {"probability", probability}}}}}});
  }

  TempDir folder_;
};

TEST_F(Compare, SeesTheLastBitOfOneFloatAndNamesItsArray) {
  write_checkpoint("this", 0.5f);
  write_checkpoint("that", 0.5f);
  expect_same({"step.h5", "@batches_taken"});
  write_checkpoint("that", std::nextafter(0.5f, 1.0f));
  expect_differs({"step.h5"},
                 "step.h5: state/momentum/3a/conv/weight, first at element 7: 0.5 and 0.50000006 (and 1 more)");
  write_checkpoint("this", 0.0f);
  write_checkpoint("that", -0.0f);
  expect_differs({"step.h5"}, "step.h5: state/momentum/3a/conv/weight, first at element 7: 0 and -0 (and 1 more)");
}

TEST_F(Compare, SeesAnArrayThatOnlyOneSideHas) {
  write_checkpoint("this", 0.5f);
  {
    const Hdf5Reader whole(folder_ / "this/step.h5");
    Hdf5Writer part(folder_ / "that/step.h5");
    for (const char* name : {"images", "names", "state/weights"}) copy_hdf5(whole, name, part, name);
    part.commit();
  }
  expect_differs({"step.h5"}, "step.h5: state/momentum/3a/conv/weight, only the first has it");
}

TEST_F(Compare, SeesAnAttributeOnlyWhereItIsAskedFor) {
  write_checkpoint("this", 0.5f, 26);
  write_checkpoint("that", 0.5f, 27);
  expect_same({"step.h5"});
  expect_differs({"step.h5", "@batches_taken"}, "step.h5: @batches_taken: 26 and 27");
}

TEST_F(Compare, KnowsWhatOlderCheckpointsCallByAnotherName) {
  const std::vector<std::string> files = {"step.h5", "@batches_taken"};
  write_renamed("that", true, 2, 3, 4, 26);
  write_renamed("this", false, 2, 3, 4, 26);
  expect_same(files);
  write_renamed("this", false, 2.5F, 3, 4, 26);
  expect_differs(files, "step.h5: state/weights/fc/bias, first at element 0: 2.5 and 2");
  write_renamed("this", false, 2, 3.5F, 4, 26);
  expect_differs(files, "step.h5: state/momentum/fc/bias, first at element 0: 3.5 and 3");
  write_renamed("this", false, 2, 3, 4.5F, 26);
  expect_differs(files, "step.h5: state/statistics/1/bn/mean, first at element 0: 4.5 and 4");
  write_renamed("this", false, 2, 3, 4, 27);
  expect_differs(files, "step.h5: @batches_taken: 27 and 26");
  write_renamed("this", true, 2, 3, 4, 26);
  expect_same(files);  // two older ones
}

TEST_F(Compare, RefusesAFileInWhichTwoArraysHaveOneName) {
  for (const char* side : {"this", "that"}) {
    Hdf5Writer file(folder_ / (std::string(side) + "/step.h5"));
    file.write("parameters/fc/bias", std::vector<float>{2}, {1});
    file.write("state/weights/fc/bias", std::vector<float>{3}, {1});
    file.commit();
  }
  const RunResult result = compare({"step.h5"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.out.find("two arrays"), std::string::npos) << result.all();
}

TEST_F(Compare, SeesIntegersThatADoubleCannotTellApartAndTexts) {
  for (const std::string side : {"this", "that"}) {
    Hdf5Writer file(folder_ / (side + "/counts.h5"));
    file.write("images", std::vector<int64_t>{(int64_t{1} << 60) + (side == "that" ? 1 : 0)}, {1});
    file.commit();
    Hdf5Writer names(folder_ / (side + "/names.h5"));
    names.write("names", std::vector<std::string>{"shirt", side == "that" ? "boots" : "boot"});
    names.commit();
  }
  expect_differs({"counts.h5"}, "counts.h5: images: 1152921504606846976 and 1152921504606846977");
  expect_differs({"names.h5"}, "names.h5: names, first at element 1: \"boot\" and \"boots\"");
}

TEST_F(Compare, SeesALossInAJournalAndNoTimes) {
  write_journal("this", 3, 1.5);
  write_journal("that", 3, 1.75);
  expect_same({"metrics.jsonl"});
  std::filesystem::remove(folder_ / "that/metrics.jsonl");
  write_journal("that", 1.5, 1.5);
  expect_differs({"metrics.jsonl"}, "metrics.jsonl: step    1 loss: 3 and 1.5 (and 2 more)");
}

TEST_F(Compare, SeesOneByteOfAShardAndAFileThatIsNotThere) {
  std::string shard(1000, 'x');
  write_text(folder_ / "this/train.rec", shard);
  write_text(folder_ / "that/train.rec", shard);
  expect_same({"train.rec"});
  shard[123] ^= 1;
  write_text(folder_ / "that/train.rec", shard);
  expect_differs({"train.rec"}, "train.rec, first at byte 123: 0x78 and 0x79");
  std::filesystem::remove(folder_ / "that/train.rec");
  const RunResult missing = compare({"train.rec"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.out.find("DIFFERS sample: "), std::string::npos) << missing.all();
  EXPECT_NE(missing.out.find("that/train.rec"), std::string::npos) << missing.all();
}

TEST_F(Compare, TakesPredictionsAsAListAndInAnObject) {
  write_json(folder_ / "this/predict.json", {{"schema", "any"}, {"predictions", predictions(0.75)}});
  write_json(folder_ / "that/predict.json", predictions(0.75));
  expect_same({"predict.json"});
  write_json(folder_ / "that/predict.json", predictions(std::nextafter(0.75, 1)));
  expect_differs({"predict.json"}, "predict.json: shirt.jpg choice 1 probability: 0.75 and 0.7500000000000001");
}

TEST_F(Compare, RefusesToCompareNothing) { EXPECT_EQ(compare({}).exit_code, 2); }

}  // namespace
}  // namespace packhorse::test
