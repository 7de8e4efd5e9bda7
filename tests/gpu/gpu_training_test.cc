// Training and evaluation on a GPU, with the product's own plug-in. In a build a stand-in plays the GPU
// (tests/standin). In a bundle (tests/gpu/bundle) there is none, and the GPU is this machine's.
#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "metrics/journal.h"
#include "support/packed.h"
#include "support/shards.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using test::RunResult;

using Environment = std::map<std::string, std::string>;

class GpuTraining : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!built()) return;
    shared_ = new test::TempDir;
    manifest_ = test::write_packed(shared_->path(), {.shards = 2, .records = 130, .width = 28, .height = 28},
                                   {.shards = 1, .records = 21, .width = 28, .height = 28});
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  void SetUp() override {
    if (!built()) GTEST_SKIP() << "the GPU plug-in is not built here (nvcc, cuDNN or NCCL is missing)";
  }

  static fs::path build() { return test::built_executable("x").parent_path().parent_path(); }
  static fs::path standins() { return build() / "standin"; }
  static bool built() { return fs::exists(build() / "lib/packhorse/packhorse-cuda.so"); }
  static bool real() { return !fs::exists(standins()); }

  static RunResult stage(const std::string& name, const std::vector<std::string>& arguments, int ranks,
                         const Environment& env) {
    test::RunOptions options;
    options.timeout_s = 900;
    options.env = env;
    if (!real()) options.env.emplace("LD_LIBRARY_PATH", standins().string());
    return test::run_stage_command(name, arguments, ranks, options);
  }
  static RunResult train(const std::string& out, const std::vector<std::string>& more, int ranks = 0,
                         const Environment& env = {}) {
    std::vector<std::string> all = {manifest_.string(), "--out", (*shared_ / out).string()};
    all.insert(all.end(), more.begin(), more.end());
    const std::map<std::string, std::string> otherwise = {{"--network", "inception-bn-small"},
                                                          {"--image-size", "28"},
                                                          {"--global-batch", "8"},
                                                          {"--epochs", "1"},
                                                          {"--lr", "0.05"},
                                                          {"--warmup-epochs", "0"},
                                                          {"--scale", "0.015"},
                                                          {"--log-interval", "1"},
                                                          {"--threads", "1"},
                                                          {"--plans", "first"}};
    for (const auto& [name, value] : otherwise)
      if (std::find(more.begin(), more.end(), name) == more.end()) all.insert(all.end(), {name, value});
    return stage("train", all, ranks, env);
  }
  static RunResult train_on_gpu(const std::string& out, const std::string& precision, const std::string& steps,
                                int ranks = 0, const Environment& env = {}, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = {"--backend", "cuda", "--precision", precision, "--limit-steps", steps};
    all.insert(all.end(), more.begin(), more.end());
    return train(out, all, ranks, env);
  }
  // The fastest plans of a real GPU add in no fixed order, those of a stand-in do.
  static RunResult train_again(const std::string& out, const std::string& steps, const Environment& env = {}) {
    return train_on_gpu(out, "f16", steps, 0, env,
                        real() ? std::vector<std::string>{"--deterministic"} : std::vector<std::string>{});
  }

  static std::vector<double> losses(const std::string& out) {
    std::vector<double> losses;
    for (const Json& line : read_journal(*shared_ / out / "metrics.jsonl"))
      if (line.at("kind") == "step") losses.push_back(line.at("loss").get<double>());
    return losses;
  }
  static uint32_t checkpoint(const std::string& out, int step) {
    return file_facts(*shared_ / out / "checkpoints" / ("step-0000000" + std::to_string(step) + ".h5")).crc32c;
  }

  static test::TempDir* shared_;
  static fs::path manifest_;
};
test::TempDir* GpuTraining::shared_ = nullptr;
fs::path GpuTraining::manifest_;

// The first loss needs no update: it differs by the rounding of one forward pass. Later ones drift apart.
TEST_F(GpuTraining, LossesAreThoseOfTheCpu) {
  ASSERT_EQ(train("cpu", {"--backend", "cpu", "--precision", "f32", "--limit-steps", "4"}).exit_code, 0);
  const std::vector<double> truth = losses("cpu");
  const std::map<std::string, double> near = {{"f32", 1e-5}, {"bf16", 0.05}, {"f16", 0.01}};
  for (const auto& [precision, tolerance] : near) {
    const RunResult result = train_on_gpu(precision, precision, "4");
    ASSERT_EQ(result.exit_code, 0) << result.all();
    EXPECT_NE(result.err.find("cuda backend: GPU 0"), std::string::npos) << result.all();
    const std::vector<double> found = losses(precision);
    ASSERT_EQ(found.size(), truth.size());
    for (size_t i = 0; i < found.size(); ++i)
      EXPECT_NEAR(found[i], truth[i], tolerance * static_cast<double>(1 << (2 * i)) * truth[i])
          << precision << ", " << i;
  }
}

// On a stand-in, work runs in another order for each seed, as far as streams and events allow.
TEST_F(GpuTraining, BitsDependOnNoOrder) {
  for (const char* seed : {"1", "2", "3"})
    ASSERT_EQ(train_again(std::string("seed-") + seed, "3", {{"PACKHORSE_STANDIN_SEED", seed}}).exit_code, 0);
  EXPECT_EQ(checkpoint("seed-1", 3), checkpoint("seed-2", 3));
  EXPECT_EQ(checkpoint("seed-1", 3), checkpoint("seed-3", 3));
}

TEST_F(GpuTraining, TwoRanksWithAGpuEach) {
  if (real()) GTEST_SKIP() << "this machine may have one GPU, and no mpirun";
  const RunResult result = train_on_gpu("ranks", "f16", "3", 2, {{"PACKHORSE_STANDIN_DEVICES", "2"}});
  ASSERT_EQ(result.exit_code, 0) << result.all();
  EXPECT_EQ(losses("ranks").size(), 3u);
  const RunResult four =
      train("four", {"--backend", "cuda", "--precision", "f16"}, 4, {{"PACKHORSE_STANDIN_DEVICES", "2"}});
  EXPECT_NE(four.exit_code, 0);
  EXPECT_NE(four.err.find("there is no GPU "), std::string::npos) << four.all();
}

TEST_F(GpuTraining, ContinuesWithTheSameBits) {
  ASSERT_EQ(train_again("whole", "4").exit_code, 0);
  ASSERT_EQ(train_again("parts", "2").exit_code, 0);
  const RunResult rest = train_again("parts", "4");
  ASSERT_EQ(rest.exit_code, 0) << rest.all();
  EXPECT_NE(rest.err.find("continues after step 2"), std::string::npos) << rest.all();
  EXPECT_EQ(checkpoint("parts", 4), checkpoint("whole", 4));
}

TEST_F(GpuTraining, MeasuredPlansAreKept) {
  const fs::path caches = *shared_ / "caches", file = caches / "packhorse/choices.json";
  const auto run = [&](const std::string& out, const std::string& steps) {
    return train_on_gpu(out, "f16", steps, 0, {{"XDG_CACHE_HOME", caches.string()}},
                        {"--plans", "measured", "--image-size", "16", "--global-batch", "2"});
  };
  const auto measured = [](const RunResult& result) {
    return result.err.find(" ways to compute in ") != std::string::npos;
  };
  const RunResult first = run("measured", "1");
  ASSERT_EQ(first.exit_code, 0) << first.all();
  EXPECT_TRUE(measured(first)) << first.all();
  ASSERT_TRUE(fs::exists(file));
  const RunResult second = run("measured-again", "1");
  ASSERT_EQ(second.exit_code, 0) << second.all();
  EXPECT_FALSE(measured(second)) << second.all();

  // A checkpoint has its own.
  const auto last = [](const std::string& out) { return *shared_ / out / "checkpoints/step-00000001.h5"; };
  EXPECT_FALSE(read_checkpoint_info(last("measured")).choices.empty());
  fs::remove(file);
  const RunResult resumed = run("measured", "2");
  ASSERT_EQ(resumed.exit_code, 0) << resumed.all();
  EXPECT_FALSE(measured(resumed)) << resumed.all();

  write_text(file, "{\"no\": ");
  const RunResult damaged = run("measured-with-damage", "1");
  ASSERT_EQ(damaged.exit_code, 0) << damaged.all();
  EXPECT_NE(damaged.err.find("the choices in it are measured again"), std::string::npos) << damaged.all();
  EXPECT_TRUE(measured(damaged)) << damaged.all();
}

TEST_F(GpuTraining, DeterministicLeavesOutWhatAddsInAnyOrder) {
  const RunResult result = train_on_gpu("repeats", "f16", "2", 0, {}, {"--deterministic"});
  ASSERT_EQ(result.exit_code, 0) << result.all();
  const Json choices = read_checkpoint_info(*shared_ / "repeats/checkpoints/step-00000002.h5").choices;
  ASSERT_FALSE(choices.empty());
  for (const auto& [key, choice] : choices.items()) {
    const bool sums = key.find("statistics") != std::string::npos || key.find("_mask") != std::string::npos;
    EXPECT_EQ(choice.get<std::string>().empty(), sums) << key;
  }
}

TEST_F(GpuTraining, ContinuesWithAnotherLossScaleIfAsked) {
  const auto to = [](const std::string& scale, const std::string& steps) {
    return train("scaled", {"--backend", "cuda", "--precision", "f16", "--loss-scale", scale, "--limit-steps", steps});
  };
  for (const auto& [scale, steps] : {std::pair("1024", "1"), {"4096", "2"}}) {
    const RunResult result = to(scale, steps);
    ASSERT_EQ(result.exit_code, 0) << result.all();
    const fs::path written = *shared_ / "scaled/checkpoints" / (std::string("step-0000000") + steps + ".h5");
    EXPECT_EQ(read_checkpoint_info(written).loss_scale, std::stod(scale));
  }
}

TEST_F(GpuTraining, TypesThatABackendHasNotAreRefused) {
  const RunResult result = train("none", {"--backend", "cpu", "--precision", "f16", "--limit-steps", "1"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_NE(result.err.find("this backend cannot compute in f16 on this machine"), std::string::npos) << result.all();
}

// A checkpoint belongs to no backend.
TEST_F(GpuTraining, GoesOnWhereTheCpuStoppedAndBack) {
  const auto to = [](const std::string& backend, const std::string& steps) {
    return train("both", {"--backend", backend, "--precision", "f32", "--limit-steps", steps});
  };
  for (const auto& [backend, steps] : {std::pair("cpu", "1"), {"cuda", "2"}, {"cpu", "3"}}) {
    const RunResult result = to(backend, steps);
    ASSERT_EQ(result.exit_code, 0) << result.all();
  }
  ASSERT_EQ(train("straight", {"--backend", "cpu", "--precision", "f32", "--limit-steps", "3"}).exit_code, 0);
  const std::vector<double> there_and_back = losses("both"), straight = losses("straight");
  ASSERT_EQ(there_and_back.size(), 3u);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(there_and_back[i], straight[i], 1e-3 * straight[i]);

  const std::string trained = (*shared_ / "both/manifest.json").string();
  for (const char* backend : {"cpu", "cuda"}) {
    const RunResult result = stage(
        "evaluate",
        {trained, "--backend", backend, "--out", (*shared_ / (std::string("evaluated-") + backend)).string()}, 0, {});
    ASSERT_EQ(result.exit_code, 0) << result.all();
  }
  const auto counts = [](const std::string& backend) {
    return StageManifest::load(*shared_ / ("evaluated-" + backend) / "manifest.json").counts.at("all");
  };
  // 21 images: at most one of them may lie between two classes.
  EXPECT_NEAR(counts("cuda").at("top1").get<double>(), counts("cpu").at("top1").get<double>(), 1.0 / 21 + 1e-9);

  // Sums of f32 in another order: off by 2^-24 times the root of 4,096 products, through some 20 layers: 8e-5.
  const fs::path image = *shared_ / "one.jpg";
  const std::vector<std::byte> jpeg = encode_jpeg(test::made_image(3, 1, 28, 28), 90);
  write_text(image, {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()});
  std::map<std::string, std::map<int64_t, double>> probabilities;
  for (const char* backend : {"cpu", "cuda"}) {
    const RunResult result = stage("predict", {trained, image.string(), "--backend", backend, "--json"}, 0, {});
    ASSERT_EQ(result.exit_code, 0) << result.all();
    const Json file = Json::parse(result.out);
    for (const Json& best : file.at("predictions").at(0).at("predictions"))
      probabilities[backend][best.at("label").get<int64_t>()] = best.at("probability").get<double>();
  }
  ASSERT_EQ(probabilities["cuda"].size(), probabilities["cpu"].size());
  ASSERT_FALSE(probabilities["cpu"].empty());
  for (const auto& [label, probability] : probabilities["cpu"])
    EXPECT_NEAR(probabilities["cuda"][label], probability, 1e-4) << label;
}

TEST_F(GpuTraining, SaysWhatIsMissing) {
  if (real()) GTEST_SKIP() << "nothing is missing on a machine with a GPU";
  const std::vector<std::tuple<std::string, std::string>> cases = {{"0", "the driver shows no GPU to this process"},
                                                                   {"nodriver", "no NVIDIA driver is loaded"}};
  for (const auto& [devices, reason] : cases) {
    const RunResult result = train_on_gpu("nothing", "f16", "1", 0, {{"PACKHORSE_STANDIN_DEVICES", devices}});
    EXPECT_EQ(result.exit_code, 1) << result.all();
    EXPECT_NE(result.err.find("there is no GPU to compute on: " + reason), std::string::npos) << result.all();
    EXPECT_FALSE(fs::exists(*shared_ / "nothing/checkpoints"));
  }
  // The real libraries, without a driver, say the same; without them, which one is missing.
  const RunResult real = train_on_gpu("nothing", "f16", "1", 0, {{"LD_LIBRARY_PATH", ""}, {"LD_BIND_NOW", "1"}});
  EXPECT_NE(real.exit_code, 0);
  EXPECT_NE(real.err.find("there is no GPU to compute on: "), std::string::npos) << real.all();
}

}  // namespace
}  // namespace packhorse
