// What the real cuDNN has for convolutions on a device that need not be there.
//
//   plans_tool DEVICE.json < SPECS               a table for people: each convolution, its candidates, the first that
//                                                builds, its workspace, and whether the library calls it deterministic
//   plans_tool --signatures DEVICE.json < SPECS  the stand-in's table (tests/standin/cudnn.cc), without the refused
//   plans_tool --classes                         a convolution of each kind that a signature tells apart
#include <cudnn.h>

#include <iostream>
#include <string>
#include <vector>

#include "base/error.h"
#include "cuda_plans/plan_lines.h"
#include "cuda_plans/spec_text.h"
#include "ops/cuda/convolution_graph.h"

namespace packhorse {
namespace {

// Each pass, type, window and fusion, with channels that are multiples of 8, of 4, or of neither. Small, so that the
// stand-in's workspaces are small.
void print_classes() {
  struct Window {
    int64_t kernel, stride, pad;
  };
  constexpr Window kWindows[] = {{1, 1, 0}, {1, 2, 0}, {3, 1, 1}, {3, 2, 1}, {4, 1, 0}, {5, 1, 2}, {7, 2, 3}};
  constexpr int64_t kChannels[] = {16, 12, 9};
  constexpr ConvolutionApply kApplies[] = {ConvolutionApply::apply, ConvolutionApply::sum,
                                           ConvolutionApply::projected_sum};
  const auto print = [](const ConvolutionSpec& spec) { std::cout << spec.text() << "\n"; };
  for (const Window& window : kWindows)
    for (const Dtype dtype : {Dtype::f16, Dtype::bf16, Dtype::f32}) {
      const ConvolutionSpec base{.dtype = dtype,
                                 .tf32 = dtype == Dtype::f32,
                                 .n = 4,
                                 .h = 14,
                                 .w = 14,
                                 .kernel = window.kernel,
                                 .stride = window.stride,
                                 .pad = window.pad};
      for (const int64_t c : kChannels)
        for (const int64_t o : kChannels)
          for (const ConvolutionPass pass :
               {ConvolutionPass::forward, ConvolutionPass::data_gradient, ConvolutionPass::weight_gradient}) {
            ConvolutionSpec spec = base;
            spec.pass = pass, spec.c = c, spec.o = o;
            print(spec);
            spec.addend = true;
            if (pass == ConvolutionPass::data_gradient) print(spec);
            spec.addend = false;
            if (pass == ConvolutionPass::forward) {
              spec.statistics = true;
              print(spec);
              for (const ConvolutionApply apply : kApplies)
                for (const bool statistics : {false, true}) {
                  spec.prologue = apply, spec.statistics = statistics;
                  print(spec);
                }
            } else if (pass == ConvolutionPass::weight_gradient) {
              spec.prologue = ConvolutionApply::apply;
              print(spec);
            } else {
              for (const ConvolutionApply apply : kApplies)
                for (const bool addend : {false, true}) {
                  spec.mask = apply, spec.addend = addend;
                  print(spec);
                }
            }
          }
    }
}

int run(const std::vector<std::string>& words) {
  if (words == std::vector<std::string>{"--classes"}) {
    print_classes();
    return kExitOk;
  }
  const bool signatures = words.size() == 2 && words[0] == "--signatures";
  if (words.size() != (signatures ? 2u : 1u))
    throw UsageError({"plans_tool --classes, or plans_tool [--signatures] DEVICE.json < SPECS", {}, {}});
  const std::string device = text_of_file(words.back());
  std::cout << "# cuDNN " << cudnnGetVersion() << "\n";
  for (const ConvolutionSpec& spec : specs_of(std::cin)) {
    const std::string line = signatures ? signature_line(spec, device) : plan_line(spec, device);
    if (!line.empty()) std::cout << line << "\n";
  }
  return kExitOk;
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  try {
    return packhorse::run({argv + 1, argv + argc});
  } catch (const packhorse::Error& error) {
    std::cerr << "error: " << error.what() << "\n";
    return error.exit_code();
  }
}
