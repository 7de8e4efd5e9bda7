// packhorse-verify: reads every byte of the files that a manifest names, and reports what is damaged.
#include <sstream>

#include <fmt/core.h>

#include "base/cores.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/stopwatch.h"
#include "base/text.h"
#include "manifest/plan.h"
#include "verify/verify_run.h"

using namespace packhorse;

namespace {

constexpr const char* kAbout =
    "Checks what a stage has made: the size and checksum of every file that its manifest names, the checksum and "
    "framing of every record, lists, class tables, HDF5 files and journals. Writes nothing. Prints a line for each "
    "damage, and for each input that is another one than the stage read (the stage is then out of date), and ends with "
    "code 1 if there is any.";
constexpr const char* kExample =
    "  packhorse-verify runs/demo/pack/manifest.json --decode\n"
    "  mpirun -n 4 packhorse-verify runs/imagenet-21k/pack/manifest.json\n"
    "  packhorse-verify made-by-im2rec.rec --show";

int report(const Findings& findings, double seconds) {
  std::istringstream lines(findings.text);
  for (std::string line; std::getline(lines, line);) log_error(line);
  if (findings.unchecked > 0) {
    log_warning(grouped(findings.unchecked) + " records have no checksum of their own (MXNet's tools write none)");
  }
  fmt::print("{}, {}\n", result_text(findings), duration_text(seconds));
  return findings.damages + findings.outdated == 0 ? kExitOk : kExitFailure;
}

std::string plan_of(const VerifyJob& job, const std::string& path, int ranks, bool as_json) {
  const auto bytes = static_cast<double>(job.bytes());
  StagePlan plan;
  plan.does = fmt::format("read {} of {}", bytes_text(bytes), counted(job.files.size(), "file"));
  plan.reads = {path};
  plan.details = {{"files", counted(job.files.size(), "file"), job.files.size()}};
  plan.time_words = "as long as the disk takes for " + bytes_text(bytes);
  plan.ranks = ranks;
  plan.threads = job.threads;
  return as_json ? plan.json_text("verify", "", {}) : plan.text("verify", "", {});
}

int run(World& world, int argc, char** argv) {
  const Stopwatch clock;
  Options options("packhorse-verify", kAbout, kExample);
  std::string path;
  bool plan = false, plan_json = false, decode = false, show = false;
  int threads = 0;
  options.argument(
      "manifest", path,
      "The manifest.json of any finished stage, or its folder, or a .rec file with its .idx file next to it.");
  options.run_option("decode", decode, "Also decode every image.");
  options.run_option("show", show,
                     "Print each record: id, label, and the image's size in bytes and crc32c. One rank only.");
  options.run_option("plan", plan, "Print what would be read, and do nothing.");
  options.run_option("plan-json", plan_json, "The same as JSON.");
  options.run_option("threads", threads, "Threads per rank. 0: the rank's share of the cores.");
  options.parse(argc, argv);
  if (show && world.size() > 1) {
    throw UsageError({"--show prints records in order, which needs a single rank", "", "run it without mpirun"});
  }
  VerifyJob job = make_verify_job(path);
  job.decode = decode;
  job.show = show;
  job.threads = threads > 0 ? threads : share_cores(world.local_size()).feed;
  if (plan || plan_json) {
    if (world.is_root()) fmt::print("{}", plan_of(job, path, world.size(), plan_json));
    return kExitOk;
  }
  const Findings findings = run_verify(world, job);
  return world.is_root() ? report(findings, clock.seconds()) : kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_ranked_stage([&](World& world) { return run(world, argc, argv); });
}
