// The job files on a real SLURM with one node, which slurm/up starts for this test. Commands are as in README.md.
#include <chrono>
#include <functional>
#include <memory>
#include <regex>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

#include "base/stopwatch.h"
#include "metrics/journal.h"
#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class Cluster : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (run_shell("PATH=$PATH:/usr/sbin; command -v sbatch && command -v slurmctld && command -v munged").exit_code !=
        0) {
      return;
    }
    folder_ = std::make_unique<TempDir>();
    const RunResult up = run_command({source_path("slurm/up").string(), folder_->path().string()});
    if (up.exit_code != 0) throw std::runtime_error("slurm/up failed\n" + up.all());
    env_["SLURM_CONF"] = (*folder_ / "etc/slurm.conf").string();
  }
  static void TearDownTestSuite() {
    if (folder_ == nullptr) return;
    run_command({source_path("slurm/down").string(), folder_->path().string()});
    folder_.reset();
    env_.clear();
  }

  void SetUp() override {
    if (folder_ == nullptr) GTEST_SKIP() << "SLURM is not installed (packages slurm-wlm and munge)";
    write_tar_of_tars(project_ / "images.tar", {.classes = 10, .per_class = 26, .broken = 1});
  }

  std::string description(const std::string& name, const Json& train = Json::object()) const {
    return project_.describe(name, {{"source", "images.tar"}}, {{"per_class", 4}},
                             {{"train", train}, {"pack", {{"quarantine-limit", 0.1}}}});
  }

  /// Runs a command line that submits one or more jobs. Returns the job numbers.
  std::vector<std::string> submit(const std::string& line, std::map<std::string, std::string> env = {}) const {
    env.merge(std::map(env_));
    const RunResult result = project_.shell(line, env);
    EXPECT_EQ(result.exit_code, 0) << line << "\n" << result.all();
    std::vector<std::string> jobs;
    static const std::regex number("job ([0-9]+)");
    for (std::sregex_iterator at(result.out.begin(), result.out.end(), number), end; at != end; ++at) {
      jobs.push_back((*at)[1]);
    }
    return jobs;
  }

  std::string state_of(const std::string& job) const {
    const RunResult result = project_.shell("squeue -h -t all -j " + job + " -o %T", env_);
    return result.out.substr(0, result.out.find('\n'));
  }

  /// Waits until a job has ended. Returns its final state.
  std::string wait_for(const std::string& job, int seconds = 600) const {
    const Stopwatch clock;
    while (clock.seconds() < seconds) {
      std::string state = state_of(job);
      if (state != "PENDING" && state != "RUNNING" && state != "COMPLETING" && state != "CONFIGURING" &&
          state != "REQUEUED" && state != "REQUEUE_HOLD") {
        return state;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
    return "still " + state_of(job);
  }

  /// All job logs, for failure messages.
  std::string logs() const {
    std::string text;
    for (const auto& entry : fs::recursive_directory_iterator(project_ / ".")) {
      if (entry.path().extension() == ".out") text += "--- " + entry.path().string() + "\n" + read_text(entry.path());
    }
    return text;
  }

  void run_job(const std::string& line) const {
    const auto jobs = submit(line);
    ASSERT_EQ(jobs.size(), 1U) << line;
    ASSERT_EQ(wait_for(jobs.front()), "COMPLETED") << line << "\n" << logs();
  }

  Project project_;
  static inline std::unique_ptr<TempDir> folder_;
  static inline std::map<std::string, std::string> env_;
};

TEST_F(Cluster, TwoJobsRunThePipelineAndAStageCanBeRepeated) {
  run_job("sbatch jobs/pack.sbatch " + description("typed"));
  const StageManifest pack = project_.manifest("typed", "pack");
  EXPECT_EQ(count_of(pack, "listed"), 260);
  EXPECT_EQ(count_of(pack, "packed"), 259);
  EXPECT_EQ(count_of(pack, "quarantined"), 1);

  run_job("sbatch jobs/train.sbatch runs/typed/pack/manifest.json");
  EXPECT_TRUE(fs::exists(project_ / "runs/typed/export/metrics.h5"));
  EXPECT_TRUE(fs::exists(project_ / "runs/typed/export/report.html"));
  const StageManifest before = project_.manifest("typed", "evaluate");

  run_job("sbatch jobs/evaluate.sbatch runs/typed/evaluate/manifest.json");
  const StageManifest after = project_.manifest("typed", "evaluate");
  EXPECT_EQ(after.settings, before.settings);
  EXPECT_EQ(after.counts, before.counts);
  EXPECT_EQ(after.outputs.size(), before.outputs.size());

  // The same description under bash with another number of ranks gives the same bytes.
  const RunResult again = project_.shell(
      "cp typed.json plain.json && sed -i s/typed/plain/ plain.json && "
      "bash jobs/pack.sbatch plain.json",
      {{"PACKHORSE_RANKS", "2"}});
  ASSERT_EQ(again.exit_code, 0) << again.all();
  const StageManifest plain = project_.manifest("plain", "pack");
  EXPECT_EQ(plain.ranks, 2);
  const auto shards = contents_of(pack, kShardRoles);
  EXPECT_GE(shards.size(), 9U);
  EXPECT_TRUE(shards == contents_of(plain, kShardRoles)) << "sbatch and bash packed different bytes";
}

TEST_F(Cluster, AJobFileWorksFromAnyFolderAndInsideAnotherJob) {
  const std::string file = description("any");
  fs::create_directory(project_ / "elsewhere");
  run_job("cd elsewhere && sbatch ../jobs/list.sbatch ../" + file);
  EXPECT_TRUE(fs::exists(project_ / "elsewhere/runs/any/list/manifest.json"));
  run_job("sbatch --chdir=elsewhere $PWD/jobs/pack.sbatch runs/any/list/manifest.json --shards 2");
  EXPECT_TRUE(fs::exists(project_ / "elsewhere/runs/any/pack/manifest.json"));
  write_text(project_ / "mine.sbatch", "#!/bin/bash\nbash jobs/list.sbatch " + file + "\n");
  run_job("sbatch mine.sbatch");
  EXPECT_TRUE(fs::exists(project_ / "runs/any/list/manifest.json"));
}

TEST_F(Cluster, ThePipelineIsAChainOfJobs) {
  const auto jobs = submit("jobs/pipeline.sh " + description("chain"), {{"PACKHORSE_RANKS", "2"}});
  ASSERT_EQ(jobs.size(), 5U);
  for (const std::string& job : jobs) EXPECT_EQ(wait_for(job), "COMPLETED") << logs();
  EXPECT_EQ(project_.manifest("chain", "train").ranks, 2);
  EXPECT_TRUE(fs::exists(project_ / "runs/chain/export/metrics.h5"));
}

TEST_F(Cluster, AFailedJobCancelsTheJobsAfterIt) {
  const std::string file = project_.describe("broken", {{"source", "not-there.tar"}}, {{"per_class", 4}});
  const auto jobs = submit("jobs/pipeline.sh " + file);
  ASSERT_EQ(jobs.size(), 5U);
  EXPECT_EQ(wait_for(jobs.front()), "FAILED") << logs();
  for (size_t i = 1; i < jobs.size(); ++i) EXPECT_EQ(wait_for(jobs[i]), "CANCELLED");
  EXPECT_NE(logs().find("not-there.tar"), std::string::npos);
}

TEST_F(Cluster, ATrainingThatGetsUsr1IsQueuedAgainAndContinues) {
  // Far more epochs than the test waits for, so that the signal arrives in the middle of the training on any machine.
  const std::string file = description("again", {{"epochs", 100000}});
  run_job("sbatch jobs/pack.sbatch " + file);
  const auto jobs = submit("sbatch jobs/train.sbatch runs/again/pack/manifest.json --log-interval 1");
  ASSERT_EQ(jobs.size(), 1U);
  const fs::path journal = project_ / "runs/again/train/metrics.jsonl";
  const auto lines = [&](const std::string& kind) {
    std::vector<int64_t> steps;
    if (!fs::exists(journal)) return steps;
    for (const Json& line : read_journal(journal)) {
      if (line.value("kind", "") == kind) steps.push_back(line.value("step", int64_t{-1}));
    }
    return steps;
  };
  const auto wait_until = [](const std::function<bool()>& done) {
    for (int tries = 0; tries < 3000 && !done(); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return done();
  };
  ASSERT_TRUE(wait_until([&] { return lines("step").size() >= 3; })) << logs();
  project_.shell("scancel --batch --signal=USR1 " + jobs.front(), env_);
  ASSERT_TRUE(wait_until([&] { return lines("run").size() >= 2; })) << logs();
  EXPECT_NE(logs().find("queued again"), std::string::npos) << logs();
  const int64_t resumed = lines("run").back();
  EXPECT_GE(resumed, 3);
  ASSERT_TRUE(wait_until([&] { return lines("step").back() >= resumed + 3; })) << logs();
  project_.shell("scancel " + jobs.front(), env_);
  EXPECT_EQ(wait_for(jobs.front()), "CANCELLED");

  const auto steps = lines("step");
  for (size_t i = 0; i < steps.size(); ++i) {
    ASSERT_EQ(steps[i], static_cast<int64_t>(i + 1)) << "a step is missing or was done twice";
  }
}

/// A separate SLURM cluster with two nodes on this machine.
class TwoNodes {
 public:
  TwoNodes() {
    const RunResult up = run_command({source_path("slurm/up").string(), folder_.path().string(), "2"});
    if (up.exit_code != 0) throw std::runtime_error("slurm/up failed\n" + up.all());
    use_ = up.out;
  }
  ~TwoNodes() { run_command({source_path("slurm/down").string(), folder_.path().string()}); }
  TwoNodes(const TwoNodes&) = delete;
  TwoNodes& operator=(const TwoNodes&) = delete;
  /// Lines of shell after which sbatch and srun use this cluster.
  const std::string& use() const { return use_; }

 private:
  TempDir folder_;
  std::string use_;
};

TEST_F(Cluster, TwoNodesPackTheSameShardsWithMpirunAndSrun) {
  const std::string file = description("nodes");
  ASSERT_EQ(project_.shell("bash jobs/pack.sbatch " + file).exit_code, 0);
  const auto alone = contents_of(project_.manifest("nodes", "pack"), kShardRoles);
  const TwoNodes cluster;
  for (const std::string launcher : {"", "srun --mpi=pmix"}) {
    fs::remove_all(project_ / "runs/nodes/pack");
    const RunResult job = project_.shell(cluster.use() + "sbatch --wait --nodes=2 --ntasks=2 jobs/pack.sbatch " + file,
                                         {{"PACKHORSE_LAUNCHER", launcher}});
    ASSERT_EQ(job.exit_code, 0) << job.all() << logs();
    EXPECT_EQ(project_.manifest("nodes", "pack").ranks, 2);
    EXPECT_TRUE(alone == contents_of(project_.manifest("nodes", "pack"), kShardRoles)) << launcher;
  }
}

}  // namespace
}  // namespace packhorse::test
