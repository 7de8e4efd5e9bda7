// packhorse-pack: packs the listed images into shards. The bytes do not depend on the number of ranks and threads.
#include <fmt/core.h>

#include "base/error.h"
#include "pack/already_packed.h"
#include "pack/pack_run.h"

using namespace packhorse;

namespace {

constexpr const char* kAbout =
    "Packs listed images into shards. Checks every image, scales it down if asked, and lists broken images in "
    "quarantine.tsv. Shards are MXNet RecordIO files with a checksum in each record. JPEGs that are not scaled down "
    "keep their bytes; their EXIF rotation is not applied.";
constexpr const char* kExample =
    "  packhorse-pack runs/imagenet-21k/list/manifest.json --resize 256 --quality 90 --shards 256\n"
    "  mpirun -n 4 packhorse-pack runs/imagenet-21k/list/manifest.json";

int run(World& world, int argc, char** argv) {
  Stage stage("pack", kAbout, kExample);
  PackSettings settings;
  settings.declare(stage.options);
  stage.begin(argc, argv, {"list"});
  const std::vector<PackedList> lists = read_lists(stage, settings);
  if (stage.plan()) {
    if (!world.is_root()) return kExitOk;
    std::optional<PlannedReplacement> before;
    if (already_packed(stage, lists))
      before = {"finished", "this is packed; nothing would be done (--replace packs again)"};
    stage.print_plan(planned(stage, settings, lists, world), before);
    return kExitOk;
  }
  const std::string done = run_pack(world, stage, settings, lists);
  if (world.is_root()) fmt::print("{}\n", done);
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_ranked_stage([&](World& world) { return run(world, argc, argv); });
}
