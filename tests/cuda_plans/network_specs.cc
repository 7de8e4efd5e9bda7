// network_specs NETWORK IMAGE_SIZE CLASSES BATCH f16|bf16|f32: the convolutions of a training step, one a line, each
// once: as a GPU backend asks cuDNN for them after raw values and fusions. What the library refuses, plans_tool says.
#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "net/graph.h"
#include "ops/cuda/convolution_graph.h"
#include "ops/fused_reference.h"
#include "ops/step.h"

namespace packhorse {
namespace {

// As a backend pads them: a multiple of 8; up to 4 become 4, for the pixels of images.
int64_t padded(int64_t channels) { return channels <= 4 ? 4 : (channels + 7) / 8 * 8; }

ConvolutionApply apply_of(const Node& node) {
  if (node.find("residual_src") != nullptr) return ConvolutionApply::projected_sum;
  if (node.find("residual") != nullptr) return ConvolutionApply::sum;
  return ConvolutionApply::apply;
}

// False for a node that is no product.
bool find_spec(const Program& program, const Node& node, Dtype dtype, ConvolutionSpec& spec) {
  const std::string_view kind = node.kind->name;
  const bool is_matrix = kind.find("fully_connected") != std::string_view::npos;
  if (kind.find("convolution") == std::string_view::npos && !node.is(kDataGradientMask) &&
      !node.is(kDataGradientSumMask) && !node.is(kDataGradientProjectedSumMask) && !is_matrix)
    return false;
  const auto first_of = [&](std::initializer_list<const char*> roles) -> const Operand& {
    for (const char* role : roles)
      if (const Operand* operand = node.find(role)) return *operand;
    return node.at(*roles.begin());
  };
  const bool is_masked = node.find("masked_grad") != nullptr;
  spec.pass = node.find("dst") != nullptr           ? ConvolutionPass::forward
              : node.find("weight_grad") != nullptr ? ConvolutionPass::weight_gradient
                                                    : ConvolutionPass::data_gradient;
  // A masked data gradient reads src too, a plain one writes src_grad alone.
  const Shape src = program.shape(first_of({"src", "src_grad"})), dst = program.shape(first_of({"dst", "dst_grad"}));
  spec.dtype = is_matrix ? Dtype::f32 : dtype;
  spec.tf32 = is_matrix && dtype != Dtype::f32;
  spec.n = src.n, spec.h = src.h, spec.w = src.w;
  spec.c = padded(src.c), spec.o = padded(dst.c);
  spec.kernel = static_cast<int64_t>(node.number("kernel", 1));
  spec.stride = static_cast<int64_t>(node.number("stride", 1));
  spec.pad = static_cast<int64_t>(node.number("pad", 0));
  spec.addend = node.find("addend") != nullptr || node.find("src_grad_addend") != nullptr;
  spec.statistics = node.find("mean") != nullptr && spec.c % 8 == 0;  // else in a pass of their own
  if (is_masked)
    spec.mask = apply_of(node);
  else if (node.find("a") != nullptr)
    spec.prologue = apply_of(node);
  return true;
}

int run(const std::vector<std::string>& words) {
  const std::map<std::string, Dtype> types = {{"f16", Dtype::f16}, {"bf16", Dtype::bf16}, {"f32", Dtype::f32}};
  if (words.size() != 5 || types.count(words[4]) == 0)
    throw UsageError({"network_specs NETWORK IMAGE_SIZE CLASSES BATCH f16|bf16|f32", {}, {}});
  const Dtype dtype = types.at(words[4]);
  StepOptions options;
  options.forward.batch = std::stoll(words[3]);
  FusedReference backend(false);
  const std::vector<Rewrite> algebraic = backend.algebraic();
  Program program =
      training_step(make_network(words[0], std::stoll(words[1]), std::stoll(words[2])), options, algebraic);
  if (dtype == Dtype::f16) {  // the library fuses in no other type
    Program refresh;
    backend.rewrite(program, refresh);
  }
  std::vector<ConvolutionSpec> specs;
  for (const Node& node : program.nodes) {
    ConvolutionSpec spec;
    if (!find_spec(program, node, dtype, spec) || std::count(specs.begin(), specs.end(), spec) > 0) continue;
    specs.push_back(spec);
    std::cout << spec.text() << "\n";
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
