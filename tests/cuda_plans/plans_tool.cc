// What the real cuDNN has for convolutions on a device that need not be there.
//
//   plans_tool DEVICE.json < SPECS               a table for people: each convolution, its candidates, the first that
//                                                builds, its workspace, and whether the library calls it deterministic
//   plans_tool --signatures DEVICE.json < SPECS  the stand-in's table (tests/standin/cudnn.cc), without the refused
//   plans_tool --classes                         a convolution of each kind that a signature tells apart
#include <cudnn.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "cuda_plans/recorder.h"
#include "cuda_plans/spec_text.h"
#include "ops/cuda/convolution_graph.h"

namespace packhorse {
namespace {

std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error({"cannot be read", path, {}});
  return {std::istreambuf_iterator<char>(file), {}};
}

void print_plans(const ConvolutionSpec& spec, const std::string& device) {
  ConvolutionPlans plans(spec, device);
  std::cout << spec.text() << " | " << plans.candidates().size();
  for (size_t i = 0; i < plans.candidates().size(); ++i) {
    if (!plans.build(i)) continue;
    const PlanCandidate& first = plans.candidates()[i];
    std::cout << " | " << first.engine << " | " << first.workspace << " | "
              << (first.deterministic ? "deterministic" : "not deterministic") << "\n";
    return;
  }
  std::cout << " | refused: " << (plans.candidates().empty() ? plans.refusal() : plans.candidates().front().refusal)
            << "\n";
}

// A few engines of those that build: the first, the last, and those that differ from their predecessors in a way that a
// caller must cope with.
void print_signature(ConvolutionSpec spec, const std::string& device) {
  std::set<std::string> exact;  // of f32: engines that do not round
  if (spec.dtype == Dtype::f32) {
    spec.tf32 = false;
    const ConvolutionPlans plans(spec, device);
    for (const PlanCandidate& candidate : plans.candidates()) exact.insert(candidate.engine);
    spec.tf32 = true;
  }
  ConvolutionPlans plans(spec, device);
  std::vector<std::string> engines;
  std::set<std::string> kinds;
  const auto tell = [&](size_t i) {
    const PlanCandidate& candidate = plans.candidates()[i];
    std::string notes;
    if (!candidate.deterministic) notes += 'n';
    if (spec.dtype == Dtype::f32 && exact.count(candidate.engine) == 0) notes += 't';
    if (candidate.runtime_compiled) notes += 'r';
    const bool is_last = i + 1 == plans.candidates().size();
    const std::string kind = notes + (candidate.workspace > 0 ? " workspace" : "");
    if (kinds.insert(kind).second || is_last)
      engines.push_back(candidate.engine + " " + std::to_string(candidate.workspace) + " " +
                        (notes.empty() ? "-" : notes));
  };
  for (size_t i = 0; i < plans.candidates().size(); ++i)
    if (plans.build(i)) tell(i);
  if (engines.empty()) return;
  std::cout << last_graph().signature << " | " << last_graph().sizes << " | ";
  for (size_t i = 0; i < engines.size(); ++i) std::cout << (i > 0 ? ", " : "") << engines[i];
  std::cout << "\n";
}

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
  std::cout << "# cuDNN " << cudnnGetVersion() << ", " << words.back() << "\n";
  for (const ConvolutionSpec& spec : specs_of(std::cin)) {
    if (signatures)
      print_signature(spec, device);
    else
      print_plans(spec, device);
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
