// packhorse-demo-data: makes the demo's data set from Fashion-MNIST.
#include "demo/demo_data.h"

#include <filesystem>

#include <fmt/core.h>

#include "base/error.h"
#include "base/options.h"
#include "base/run.h"

using namespace packhorse;

namespace {

constexpr const char* kAbout =
    "Converts Fashion-MNIST to the form of the ImageNet release: train.tar (a tar of class tars), validation.tar and "
    "validation_ground_truth.txt.";
constexpr const char* kExample =
    "  packhorse-demo-data runs/demo-data\n"
    "  DEMO_DATA=$PWD/runs/demo-data packhorse-list data_manifests/demo.json";

int run(int argc, char** argv) {
  Options options("packhorse-demo-data", kAbout, kExample);
  DemoDataOptions demo;
  std::string folder;
  options.argument("folder", folder, "Folder to write to.");
  options.run_option("source", demo.source, "Folder with the gzipped IDX files.");
  options.setting("train-per-class", demo.train_per_class, "Number of training images per class.");
  options.between(1, 6000);
  options.setting("validation-per-class", demo.validation_per_class, "Number of validation images per class.");
  options.between(1, 1000);
  options.parse(argc, argv);
  const std::filesystem::path out = std::filesystem::absolute(folder).lexically_normal();
  fmt::print("{}\n", make_demo_data(out, demo, options.settings()));
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_stage([&] { return run(argc, argv); });
}
