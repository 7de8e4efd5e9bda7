// packhorse-list: makes shuffled image lists and the class table from a data set's description.
#include <fmt/core.h>

#include "base/error.h"
#include "base/run.h"
#include "list/list_run.h"

using namespace packhorse;

namespace {

constexpr const char* kAbout =
    "Lists the images of a data set. Reads its sources in place, without unpacking them, splits off validation images "
    "if the description asks for it, and writes shuffled lists and the class table. What is found and is no image is "
    "named "
    "in skipped.tsv, with the reason.";
constexpr const char* kExample =
    "  export IMAGENET=/data/imagenet/fall11_whole.tar\n"
    "  packhorse-list data_manifests/imagenet-21k.json --out runs/imagenet-21k/list";

int run(int argc, char** argv) {
  Stage stage("list", kAbout, kExample);
  ListSettings settings;
  settings.declare(stage.options);
  stage.begin(argc, argv, {"dataset"});
  const ListPlan plan = plan_lists(stage, settings);
  if (stage.plan()) {
    stage.print_plan(planned(stage, plan));
    return kExitOk;
  }
  fmt::print("{}\n", run_list(stage, plan));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_stage([&] { return run(argc, argv); });
}
