// The job files under bash: which files they find, which stages they run first, and how they stop.
#include <signal.h>

#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "base/settings_file.h"
#include "metrics/journal.h"
#include "support/images.h"
#include "support/project.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;

class JobFiles : public ::testing::Test {
 protected:
  void SetUp() override { write_folders(project_ / "images", {.classes = 4, .per_class = 20}); }
  std::string description(const Json& train = Json::object()) {
    return project_.describe("jobs", {{"source", "images"}}, {{"per_class", 2}}, {{"train", train}});
  }
  void runs(const std::string& line) {
    const RunResult result = project_.shell(line);
    ASSERT_EQ(result.exit_code, 0) << line << "\n" << result.all();
  }
  Project project_;
};

TEST_F(JobFiles, PackListsFirstSoThatNewImagesAreIn) {
  const std::string file = description();
  runs("bash jobs/pack.sbatch " + file);
  EXPECT_EQ(count_of(project_.manifest("jobs", "pack"), "packed"), 80);
  runs(
      "cp images/class_0001/class_0001_0.JPEG images/class_0001/new.JPEG && rm images/class_0002/class_0002_1.JPEG "
      "images/class_0002/class_0002_2.JPEG");
  runs("bash jobs/pack.sbatch " + file);
  EXPECT_EQ(count_of(project_.manifest("jobs", "pack"), "packed"), 79);
}

// Two ranks add their sums in another order than one.
TEST_F(JobFiles, ARepeatedTrainingHasTheRanksThatItHad) {
  runs("PACKHORSE_RANKS=2 jobs/pipeline.sh " + description() + " --local");
  const std::string trained = "runs/jobs/train/manifest.json";
  EXPECT_EQ(project_.manifest("jobs", "train").ranks, 2);
  const RunResult alone = project_.shell("build/bin/packhorse-train " + trained);
  EXPECT_EQ(alone.exit_code, 2) << alone.all();
  EXPECT_NE(alone.err.find("this would not be the same run again: 1 rank instead of 2"), std::string::npos)
      << alone.err;
  const RunResult again = project_.shell("PACKHORSE_TRAIN_ONLY=1 bash jobs/train.sbatch " + trained);
  EXPECT_EQ(again.exit_code, 0) << again.all();
  EXPECT_NE(again.err.find("train: 2 rank(s)"), std::string::npos) << again.err;
  EXPECT_NE(again.err.find("the result is the same as before, byte for byte"), std::string::npos) << again.err;
  const StageManifest manifest = project_.manifest("jobs", "train");
  ASSERT_EQ(manifest.history.size(), 1U);
  EXPECT_NE(manifest.history[0].at("command").dump().find("pack/manifest.json"), std::string::npos)
      << "the first command is lost: " << manifest.history.dump();
  runs("build/bin/packhorse-train " + trained + " --inexact");
}

TEST_F(JobFiles, APipelineTakesOptionsForItsStagesAndMakesATrainingBesideAnother) {
  const std::string file = description();
  runs("jobs/pipeline.sh " + file + " --local");
  const StageManifest first = project_.manifest("jobs", "train");
  runs("jobs/pipeline.sh " + file + " --local --run slow --train '--lr 0.01 --epochs 2' --evaluate '--split train'");
  EXPECT_EQ(project_.manifest("jobs", "train").results_crc32c(), first.results_crc32c());
  const StageManifest slow = project_.manifest("jobs/slow", "train");
  EXPECT_EQ(slow.settings["lr"], 0.01);
  EXPECT_EQ(slow.settings["epochs"], 2);
  EXPECT_EQ(project_.manifest("jobs/slow", "evaluate").settings["split"], "train");
  EXPECT_TRUE(fs::exists(project_ / "runs/jobs/slow/export/report.html"));
  const RunResult wrong = project_.shell("jobs/pipeline.sh " + file + " --local --epochs 3");
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.err.find("usage: pipeline.sh DESCRIPTION"), std::string::npos) << wrong.err;
}

TEST_F(JobFiles, ASetWithoutValidationIsTrainedAndExported) {
  const std::string file = project_.describe("bare", {{"source", "images"}}, {{"per_class", 0}});
  const RunResult pipeline = project_.shell("jobs/pipeline.sh " + file + " --local");
  EXPECT_EQ(pipeline.exit_code, 0) << pipeline.all();
  EXPECT_NE(pipeline.err.find("evaluate: skipped: the data set has no images for validation"), std::string::npos)
      << pipeline.err;
  EXPECT_TRUE(fs::exists(project_ / "runs/bare/export/report.html"));
  fs::remove_all(project_ / "runs/bare/export");
  runs("bash jobs/train.sbatch runs/bare/pack/manifest.json");
  EXPECT_TRUE(fs::exists(project_ / "runs/bare/export/report.html"));
}

TEST_F(JobFiles, OptionsAfterTheManifestGoToTheStage) {
  runs("bash jobs/pack.sbatch " + description() + " --shards 2");
  EXPECT_EQ(project_.manifest("jobs", "pack").outputs_of("train-shard").size(), 2U);
}

TEST_F(JobFiles, PlanAndHelpWriteNothing) {
  const std::string file = description();
  runs("bash jobs/pack.sbatch " + file + " --plan --shards 2");
  EXPECT_FALSE(fs::exists(project_ / "runs"));
  runs("bash jobs/pipeline.sh " + file + " --local");
  fs::remove_all(project_ / "runs/jobs/train");
  fs::remove_all(project_ / "runs/jobs/evaluate");
  runs("bash jobs/train.sbatch runs/jobs/pack/manifest.json --plan");
  runs("bash jobs/train.sbatch --help");
  EXPECT_FALSE(fs::exists(project_ / "runs/jobs/train"));
  EXPECT_FALSE(fs::exists(project_ / "runs/jobs/evaluate"));
}

// Packing may take hours; a mistake about training must not wait for its end.
TEST_F(JobFiles, AMistakeAboutALaterStageShowsInTheFirst) {
  const std::vector<std::pair<Json, std::string>> mistakes = {
      {{{"train", {{"epocs", 3}}}}, "there is no setting 'epocs'"},
      {{{"train", {{"epochs", "many"}}}}, "'epochs' has the wrong type"},
      {{{"trian", {{"epochs", 3}}}}, "there is no stage 'trian'"},
      {{{"evaluate", {{"batch-size", 0}}}}, "'batch-size' cannot be 0"},
      {{{"predict", {{"topk", 0}}}}, "'topk' cannot be 0"}};
  for (const auto& [stages, message] : mistakes) {
    Json settings = stages;
    if (!settings.contains("train")) settings["train"] = Project::short_training();
    write_json(project_ / "wrong.json", {{"schema", kDatasetSchema},
                                         {"name", "wrong"},
                                         {"train", {{"source", "images"}}},
                                         {"validation", {{"per_class", 2}}},
                                         {"stages", settings}});
    const RunResult result = project_.shell("bash jobs/pack.sbatch wrong.json");
    EXPECT_EQ(result.exit_code, 2) << result.all();
    EXPECT_NE(result.err.find(message), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(project_ / "runs/wrong"));
  }
}

// One file for all stages, whose tables are theirs.
TEST_F(JobFiles, TheSettingsOfAllStagesCanStandInOneFile) {
  if (!kReadsSettingsFiles) GTEST_SKIP() << "there is no toml++";
  const std::string file = description();
  write_text(project_ / "our settings.toml", "[pack]\nshards = 3\n\n[train]\nepocs = 1\n");
  const RunResult result = project_.shell("jobs/pipeline.sh " + file + " --local --config 'our settings.toml'");
  EXPECT_EQ(result.exit_code, 2) << result.all();
  EXPECT_NE(result.err.find("'epocs': our settings.toml, line 5"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(project_ / "runs"));
  write_text(project_ / "our settings.toml", "[pack]\nshards = 3\n\n[train]\nepochs = 1\n");
  runs("jobs/pipeline.sh " + file + " --local --config 'our settings.toml'");
  EXPECT_EQ(read_json(project_ / "runs/jobs/pack/manifest.json")["settings"]["shards"], 3);
  EXPECT_EQ(read_json(project_ / "runs/jobs/train/manifest.json")["settings"]["epochs"], 1);
}

TEST_F(JobFiles, AFailedStageEndsThePipelineWithItsExitCode) {
  const std::string file = description({{"network", "no-such-network"}});
  const RunResult result = project_.shell("jobs/pipeline.sh " + file + " --local");
  EXPECT_EQ(result.exit_code, 2) << result.all();
  EXPECT_FALSE(fs::exists(project_ / "runs/jobs/evaluate"));
}

// A script for each executable is how the ranks of a site get into a container.
TEST_F(JobFiles, PackhorseBinNamesTheExecutablesOrScriptsInFrontOfThem) {
  const std::string file = description();
  runs(
      "mkdir 'my bin' && for stage in list pack; do printf '#!/bin/sh\\necho %s >>used\\nexec build/bin/packhorse-%s "
      "\"$@\"\\n' $stage $stage >\"my bin/packhorse-$stage\"; done && chmod +x 'my bin'/*");
  runs("PACKHORSE_BIN='my bin' PACKHORSE_RANKS=2 bash jobs/pack.sbatch " + file);
  EXPECT_EQ(project_.manifest("jobs", "pack").ranks, 2);
  const std::string used = read_text(project_ / "used");
  EXPECT_NE(used.find("list\n"), std::string::npos) << used;
  EXPECT_NE(used.find("pack\npack\n"), std::string::npos) << used;

  const RunResult refused = project_.shell("PACKHORSE_BIN='no bin' bash jobs/pack.sbatch " + file);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("not in PACKHORSE_BIN (no bin)"), std::string::npos) << refused.err;
}

// sbatch runs a copy of a job file with another name, in a folder without the other files of the project.
// A machine with three GPUs, whose driver's tool is a script here. PACKHORSE_BIN is an installation with the plug-in,
// and one without it.
TEST_F(JobFiles, StartOneRankForEachGpuThatTheExecutablesCanUse) {
  const std::string prepare =
      "mkdir -p tools with/lib/packhorse with/bin without/bin && touch with/lib/packhorse/packhorse-cuda.so && "
      "touch {with,without}/bin/packhorse-list && "
      "printf '#!/bin/sh\nprintf \"GPU 0: A\\nGPU 1: A\\nGPU 2: A\\n\"\n' >tools/nvidia-smi && "
      "chmod +x tools/nvidia-smi {with,without}/bin/packhorse-list";
  ASSERT_EQ(project_.shell(prepare).exit_code, 0);
  const auto ranks = [&](const std::string& bin, const std::map<std::string, std::string>& more) {
    std::map<std::string, std::string> env = more;
    env["PACKHORSE_BIN"] = (project_ / bin).string();
    const RunResult result = project_.shell("set -- none; PATH=$PWD/tools:$PATH; . jobs/common.sh; echo $ranks", env);
    EXPECT_EQ(result.exit_code, 0) << result.all();
    return result.out;
  };
  EXPECT_EQ(ranks("with/bin", {}), "3\n");
  EXPECT_EQ(ranks("with/bin", {{"CUDA_VISIBLE_DEVICES", "0,2"}}), "2\n");
  EXPECT_EQ(ranks("with/bin", {{"PACKHORSE_RANKS", "5"}}), "5\n");
  const std::string sockets = ranks("with/bin", {{"CUDA_VISIBLE_DEVICES", ""}});
  EXPECT_NE(sockets, "3\n");
  EXPECT_EQ(ranks("without/bin", {}), sockets);
  // In a job, SLURM says how many.
  EXPECT_EQ(ranks("with/bin", {{"SLURM_JOB_ID", "1"}, {"SLURM_GPUS_ON_NODE", "4"}}), "4\n");
  EXPECT_EQ(ranks("with/bin", {{"SLURM_JOB_ID", "1"}}), sockets);
}

TEST_F(JobFiles, FindTheirScriptsFromTheCopyInSlurmsSpool) {
  runs("mkdir spool tools && cp jobs/pack.sbatch spool/slurm_script");
  const auto scontrol_says = [&](const std::string& command) {
    write_text(project_ / "tools/scontrol",
               "#!/bin/bash\n[ \"$*\" = 'show job 7' ] && printf 'JobId=7 JobName=x\\n   Command=" + command +
                   "\\n   WorkDir=/tmp\\n'\n");
    runs("chmod +x tools/scontrol");
  };
  const std::string job = "SLURM_JOB_ID=7 PATH=$PWD/tools:$PATH ";
  const std::string help = project_.shell("build/bin/packhorse-pack --help").out;
  const auto helps = [&](const std::string& line) {
    const RunResult result = project_.shell(line);
    EXPECT_EQ(result.exit_code, 0) << line << "\n" << result.all();
    EXPECT_EQ(result.out, help) << line;
  };
  scontrol_says((project_ / "jobs/pack.sbatch").string());
  helps(job + "bash spool/slurm_script --help");
  scontrol_says((project_ / "jobs/pack.sbatch").string() + " sets/of.mine/x.json --train-source /data/a b.tar");
  helps(job + "bash spool/slurm_script --help");
  // Inside another job, SLURM gives the script of that job.
  for (const std::string unrelated : {"/elsewhere/unrelated.sh", "/elsewhere/unrelated.sbatch x", "(null)"}) {
    scontrol_says(unrelated);
    helps(job + "bash jobs/pack.sbatch --help");
    helps("cd spool && " + job + "../jobs/pack.sbatch --help");
    helps(job + "PACKHORSE_HOME=$PWD bash spool/slurm_script --help");
  }
  helps("PACKHORSE_HOME=$PWD bash spool/slurm_script --help");
  helps("ln -s $PWD/jobs/pack.sbatch spool/linked.sbatch && bash spool/linked.sbatch --help");
}

TEST_F(JobFiles, PrintOutHelpAndVersionPrintOnceForAllRanks) {
  const std::string file = description(), home = fs::canonical(project_ / ".").string();
  const auto prints = [&](const std::string& line, const std::string& text) {
    const RunResult result = project_.shell(line, {{"PACKHORSE_RANKS", "2"}});
    EXPECT_EQ(result.exit_code, 0) << line << "\n" << result.all();
    EXPECT_EQ(result.out, text) << line;
  };
  prints("bash jobs/list.sbatch " + file + " --print-out", home + "/runs/jobs/list\n");
  EXPECT_FALSE(fs::exists(project_ / "runs"));
  runs("bash jobs/list.sbatch " + file);
  prints("bash jobs/pack.sbatch runs/jobs/list/manifest.json --print-out", home + "/runs/jobs/pack\n");
  prints("bash jobs/pack.sbatch --print-out runs/jobs/list/manifest.json --out x", home + "/x\n");
  EXPECT_FALSE(fs::exists(project_ / "runs/jobs/pack"));
  for (const std::string stage : {"pack", "train", "evaluate", "verify"}) {
    const std::string job = "bash jobs/" + stage + ".sbatch runs/jobs/list/manifest.json ";
    const std::string executable = "build/bin/packhorse-" + stage + " ";
    for (const char* question : {"--help", "-h", "--version"}) {
      prints(job + question, project_.shell(executable + question).out);
    }
  }
}

TEST_F(JobFiles, AStoppedTrainingIsReportedAndTheSameCommandContinues) {
  runs("bash jobs/pack.sbatch " + description({{"epochs", 100000}}));
  const std::vector<std::string> command = {"bash", "jobs/train.sbatch", "runs/jobs/pack/manifest.json",
                                            "--log-interval", "1"};
  const auto options = project_.options({{"PACKHORSE_RANKS", "2"}});
  const fs::path journal = project_ / "runs/jobs/train/metrics.jsonl";
  const auto last_step = [&] {
    int64_t step = 0;
    if (!fs::exists(journal)) return step;
    for (const Json& line : read_journal(journal)) {
      if (line.value("kind", "") == "step") step = line.value("step", int64_t{0});
    }
    return step;
  };
  // SIGTERM is what a site sends, to the script. Ctrl-C reaches the script and mpirun and the ranks: the prompt must
  // not come before the checkpoint.
  for (const bool by_terminal : {false, true}) {
    Subprocess job(command, options);
    const int64_t begin = last_step();
    for (int tries = 0; tries < 3000 && last_step() < begin + 3 && job.running(); ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    by_terminal ? job.signal_group(SIGINT) : job.signal(SIGTERM);
    const RunResult stopped = job.wait();
    EXPECT_EQ(stopped.exit_code, 75) << stopped.all();
    EXPECT_NE(stopped.err.find("the same command"), std::string::npos) << stopped.err;
    EXPECT_FALSE(fs::exists(project_ / "runs/jobs/train/manifest.json")) << "the stage is not done";
    EXPECT_FALSE(fs::exists(project_ / "runs/jobs/evaluate"));
    EXPECT_FALSE(fs::exists(project_ / "runs/jobs/train/.owner")) << "it is still at work";
  }

  const int64_t before = last_step();
  std::vector<std::string> again = command;
  again.insert(again.end(), {"--limit-steps", std::to_string(before + 2)});
  const RunResult done = run_command(again, options);
  ASSERT_EQ(done.exit_code, 0) << done.all();
  EXPECT_EQ(count_of(project_.manifest("jobs", "train"), "steps"), before + 2);
  EXPECT_TRUE(fs::exists(project_ / "runs/jobs/export/metrics.h5"));
}

}  // namespace
}  // namespace packhorse::test
