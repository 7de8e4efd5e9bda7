#include "ops/cuda/convolution.h"

#include <cudnn.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "ops/cuda/context.h"
#include "ops/cuda/passes.h"
#include "ops/cuda/plan_trials.h"
#include "ops/fusions.h"

namespace packhorse::cuda {

namespace {

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw Error({std::string("cuDNN reports ") + cudnnGetErrorString(status), call,
               "see the versions in the log; --backend cpu computes without a GPU"});
}

int64_t rounded_up(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

}  // namespace

Convolutions::Convolutions(Device& device, const BackendOptions& options)
    : device_(device), deterministic_(options.deterministic), measure_(options.measure), given_(options.choices) {
  check(cudnnCreate(&handle_), "cudnnCreate");
}
Convolutions::~Convolutions() {
  for (const auto& [stream, handle] : handles_) cudnnDestroy(handle);
  cudnnDestroy(handle_);
}

cudnnContext* Convolutions::handle(cudaStream_t stream) {
  cudnnContext*& handle = handles_[stream];
  if (handle == nullptr) {
    check(cudnnCreate(&handle), "cudnnCreate");
    check(cudnnSetStream(handle, stream), "cudnnSetStream");
  }
  return handle;
}

std::string Convolutions::key(const ConvolutionSpec& spec) const {
  return plan_choice_key(device_, spec, deterministic_);
}

Convolutions::Known& Convolutions::known(const ConvolutionSpec& spec) {
  if (const auto found = known_.find(spec); found != known_.end()) return found->second;
  Known& known = known_.emplace(spec, Known{{spec, handle_, {.deterministic = deterministic_}}, {}, {}}).first->second;
  known.refusal = known.plans.refusal();
  const std::string name = key(spec);
  const auto chosen = given_.find(name);
  const int candidate = chosen == given_.end() ? -1 : known.plans.find(chosen->second);
  // What an epilogue adds over the pixels it adds in no fixed order: none of those plans gave the same bits twice.
  if (deterministic_ && (spec.statistics || spec.mask != ConvolutionApply::none))
    known.refusal = "its sums have no fixed order";
  else if (candidate >= 0 && known.plans.build(static_cast<size_t>(candidate)))
    known.choice = {&known.plans, static_cast<size_t>(candidate)};
  else if (chosen != given_.end() && chosen->second.empty())
    known.refusal = "no plan was chosen for it";
  else if (measure_)
    take_fastest(known, spec);
  else
    take_first(known);
  const std::vector<PlanCandidate>& candidates = known.plans.candidates();
  taken_[name] = known.choice.plans == nullptr ? "" : candidates[known.choice.candidate].engine;
  if (known.choice.plans != nullptr) known.plans.keep_only(known.choice.candidate);
  return known;
}

Stream& Convolutions::trials() {
  if (trials_ == nullptr) trials_ = device_.make_stream(false);
  return *trials_;
}

double Convolutions::seconds(const ConvolutionSpec& spec) {
  Chosen& choice = known(spec).choice;
  if (choice.plans == nullptr) return std::numeric_limits<double>::infinity();
  if (choice.seconds == 0)
    choice.seconds = PlanTrials(device_, trials(), handle(stream_of(trials())), spec)
                         .run(*choice.plans, choice.candidate, std::nullopt)
                         .seconds;
  return choice.seconds;
}

double Convolutions::bandwidth() {
  if (bandwidth_ == 0) bandwidth_ = measured_bandwidth(device_, trials());
  return bandwidth_;
}

bool Convolutions::decided(const std::string& question, bool otherwise, const std::function<bool()>& decide) {
  const std::string name = choice_key(model_of(device_), cudnn_name(), question + (deterministic_ ? " repeats" : ""));
  const auto given = given_.find(name);
  bool yes = otherwise;
  if (given != given_.end()) {
    yes = given->second == "yes";
  } else if (measure_) {
    try {
      yes = decide();
    } catch (const Error&) {
      yes = otherwise;  // there is no memory for a measurement
    }
  }
  taken_[name] = yes ? "yes" : "no";
  return yes;
}

void Convolutions::take_first(Known& known) {
  for (size_t i = 0; i < known.plans.candidates().size(); ++i) {
    if (known.plans.build(i)) {
      known.choice = {&known.plans, i};
      return;
    }
    known.refusal = known.plans.candidates()[i].refusal;
  }
}

// The library's favourites come first; far behind them nothing is ever the fastest.
void Convolutions::take_fastest(Known& known, const ConvolutionSpec& spec) {
  constexpr size_t kMost = 12;
  std::optional<PlanTrials> trial_runs;
  try {
    trial_runs.emplace(device_, trials(), handle(stream_of(trials())), spec);
  } catch (const Error&) {
    return take_first(known);  // there is no memory for a measurement
  }
  std::optional<double> best;
  for (size_t i = 0, tried = 0; i < known.plans.candidates().size() && tried < kMost; ++i) {
    try {
      if (!known.plans.build(i)) {
        known.refusal = known.plans.candidates()[i].refusal;
        continue;
      }
      ++tried;
      const Trial trial = trial_runs->run(known.plans, i, best);
      if (deterministic_ && !trial.repeats) {
        known.refusal = known.plans.candidates()[i].engine + " does not give the same bits each time";
        continue;
      }
      if (best && trial.seconds >= *best) continue;
      best = trial.seconds;
      known.choice = {&known.plans, i, trial.seconds};
    } catch (const Error& error) {
      known.refusal = error.what();  // what cannot be run is not chosen
    }
  }
}

const Convolutions::Chosen* Convolutions::find(const ConvolutionSpec& spec) {
  const Known& found = known(spec);
  return found.choice.plans == nullptr ? nullptr : &found.choice;
}

const Convolutions::Chosen& Convolutions::chosen(const ConvolutionSpec& spec) {
  if (const Chosen* choice = find(spec)) return *choice;
  throw Error({"cuDNN has no plan for this convolution: " + known_.at(spec).refusal, spec.text(),
               deterministic_ ? "leave out --deterministic, or use another --precision" : "use another --precision"});
}

int64_t padded_channels(int64_t channels) { return channels <= 4 ? 4 : rounded_up(channels, 8); }

namespace {

/// The arithmetic of a node's product, whatever its operands are called.
struct Product {
  ConvolutionPass pass;
  Shape src, dst;       ///< of the forward pass
  std::string_view in;  ///< roles of what is read besides weights, and of the result
  std::string_view other, result;
};

// Fused or plain, a product is known by the roles of its operands.
bool is_forward(const Node& node) { return node.find("weight") != nullptr && node.find("dst") != nullptr; }
bool is_masked(const Node& node) { return node.find("masked_grad") != nullptr; }

Product product_of(const Program& program, const Node& node) {
  const auto shape = [&](std::string_view role) { return program.shape(node.at(role)); };
  if (node.find("weight_grad") != nullptr)
    return {ConvolutionPass::weight_gradient, shape("src"), shape("dst_grad"), "src", "dst_grad", "weight_grad"};
  if (is_forward(node)) return {ConvolutionPass::forward, shape("src"), shape("dst"), "src", "", "dst"};
  const std::string_view result = is_masked(node) ? "masked_grad" : "src_grad";
  return {ConvolutionPass::data_gradient, shape(result), shape("dst_grad"), "dst_grad", "", result};
}

bool is_fully_connected(const Node& node) {
  return node.is(kFullyConnected) || node.is(kFullyConnectedDataGradient) || node.is(kFullyConnectedWeightGradient);
}

// Matrix products are f32 whatever the activations are. Then tensor cores may round their operands to 11 bits, as many
// as f16 has.
ConvolutionSpec spec_of(Dtype dtype, const Program& program, const Node& node) {
  const Product product = product_of(program, node);
  const bool matrix = is_fully_connected(node);
  return {.pass = product.pass,
          .dtype = matrix ? Dtype::f32 : dtype,
          .tf32 = matrix && dtype != Dtype::f32,
          .n = product.src.n,
          .h = product.src.h,
          .w = product.src.w,
          .c = padded_channels(product.src.c),
          .o = padded_channels(product.dst.c),
          .kernel = matrix ? 1 : static_cast<int64_t>(node.number("kernel")),
          .stride = matrix ? 1 : static_cast<int64_t>(node.number("stride")),
          .pad = matrix ? 0 : static_cast<int64_t>(node.number("pad"))};
}

/// Cuts a node's workspace into parts.
class Parts {
 public:
  explicit Parts(std::byte* base)
      : base_(reinterpret_cast<std::byte*>(rounded_up(reinterpret_cast<intptr_t>(base), kAlignment))) {}
  std::byte* take(uint64_t bytes) {
    std::byte* const part = base_ + used_;
    used_ += static_cast<uint64_t>(rounded_up(static_cast<int64_t>(bytes), kAlignment));
    return part;
  }
  /// What all parts need, wherever the workspace begins.
  uint64_t bytes() const { return used_ + kAlignment; }

 private:
  static constexpr int64_t kAlignment = 256;  // what cuDNN wants
  std::byte* base_;
  uint64_t used_ = 0;
};

/// An operand as the plan takes it: dense, with padded channels.
struct Prepared {
  View given, plan;
  bool copied() const { return given.data != plan.data; }
};
Prepared prepare(const View& given, Parts& parts, bool always_apart, bool padded = false) {
  View plan = given;
  plan.shape.c = plan.pixel_stride = padded_channels(given.shape.c);
  const bool as_it_is =
      !always_apart && given.pixel_stride == plan.shape.c && (plan.shape.c == given.shape.c || padded);
  if (!as_it_is) plan.data = parts.take(static_cast<uint64_t>(plan.shape.count()) * size_of(plan.dtype));
  return {given, plan};
}

View view_of(const Program& program, const Node& node, std::string_view role) {
  const Operand* operand = node.find(role);
  if (operand == nullptr) return {};
  const Value& value = program.value(*operand);
  return {.data = nullptr, .shape = program.shape(*operand), .pixel_stride = value.shape.c, .dtype = value.dtype};
}

/// Where everything of one product lies.
struct Layout {
  Prepared in, other, result;
  void *weight_grad = nullptr, *plan = nullptr;
  uint64_t bytes = 0;
};
struct Needs {
  bool adds = false;    ///< what the plan gives is added to something: it lies apart first
  bool padded = false;  ///< what is read has zeros behind its channels
};
Needs needs_of(const Program& program, const Node& node, const Product& product) {
  const Operand& in = node.at(product.in);
  const int writer = writer_of(program, in);
  return {.adds = node.find("src_grad_addend") != nullptr || node.find("bias") != nullptr,
          .padded = in.first == 0 && is(program, writer, kInput)};
}
// `views`: of a role. A view without memory gives the bytes only.
template <typename Views>
Layout layout_of(const ConvolutionSpec& spec, const Product& product, uint64_t plan_bytes, const Needs& needs,
                 const Views& views, std::byte* workspace) {
  Parts parts(workspace);
  Layout layout;
  layout.plan = parts.take(plan_bytes);
  layout.in = prepare(views(product.in), parts, false, needs.padded);
  if (!product.other.empty()) layout.other = prepare(views(product.other), parts, false);
  if (product.pass == ConvolutionPass::weight_gradient)
    layout.weight_grad =
        parts.take(static_cast<uint64_t>(spec.o * spec.kernel * spec.kernel * spec.c) * size_of(spec.dtype));
  else
    layout.result = prepare(views(product.result), parts, needs.adds);
  layout.bytes = parts.bytes();
  return layout;
}

}  // namespace

Run bind_product(Context& context, const Site& site) {
  const Node& node = site.node();
  const Product product = product_of(site.program(), node);
  const ConvolutionSpec spec = spec_of(context.dtype(), site.program(), node);
  const Convolutions::Chosen chosen = context.convolutions().chosen(spec);
  const Layout layout = layout_of(
      spec, product, chosen.workspace(), needs_of(site.program(), node, product),
      [&](std::string_view role) { return site.view(role); }, site.array<std::byte>("workspace"));
  PortPointers pointers;
  const View addend = site.view("src_grad_addend");
  const auto* const bias = site.array<float>("bias");
  switch (product.pass) {
    case ConvolutionPass::forward:
      pointers[Port::src] = layout.in.plan.data;
      pointers[Port::weight] = site.array<void>("weight");
      pointers[Port::dst] = layout.result.plan.data;
      break;
    case ConvolutionPass::data_gradient:
      pointers[Port::dst_grad] = layout.in.plan.data;
      pointers[Port::weight] = site.array<void>("weight");
      pointers[Port::src_grad] = layout.result.plan.data;
      break;
    case ConvolutionPass::weight_gradient:
      pointers[Port::src] = layout.in.plan.data;
      pointers[Port::dst_grad] = layout.other.plan.data;
      pointers[Port::weight_grad] = layout.weight_grad;
      break;
  }
  const cudaStream_t stream = stream_of(site.stream());
  auto* const weight_grad = site.array<float>("weight_grad");
  const Weights weights{product.dst.c, product.src.c, spec.kernel * spec.kernel, spec.c};
  return [=, handle = context.convolutions().handle(stream)](const StepCall&) {
    for (const Prepared* one : {&layout.in, &layout.other})
      if (one->copied()) pad_channels(one->given, one->plan, stream);
    chosen.plans->execute(handle, chosen.candidate, pointers, chosen.workspace() > 0 ? layout.plan : nullptr);
    if (product.pass == ConvolutionPass::weight_gradient)
      weight_gradient(spec.dtype, layout.weight_grad, weight_grad, weights, stream);
    else if (bias != nullptr)
      add_bias(layout.result.plan, bias, layout.result.given, stream);
    else if (layout.result.copied())
      add_channels(layout.result.plan, addend, layout.result.given, stream);
  };
}

uint64_t product_workspace(Context& context, const Program& program, const Node& node) {
  const ConvolutionSpec spec = spec_of(context.dtype(), program, node);
  const auto views = [&](std::string_view role) { return view_of(program, node, role); };
  const Product product = product_of(program, node);
  return layout_of(spec, product, context.convolutions().chosen(spec).workspace(), needs_of(program, node, product),
                   views, nullptr)
      .bytes;
}

// ---- Fused convolutions: dense operands, so nothing is copied around them

namespace {

ConvolutionApply apply_of(const Node& node, bool applies) {
  if (node.find("residual_src") != nullptr) return ConvolutionApply::projected_sum;
  if (node.find("residual") != nullptr) return ConvolutionApply::sum;
  return applies ? ConvolutionApply::apply : ConvolutionApply::none;
}

ConvolutionSpec fused_spec_of(Dtype dtype, const Program& program, const Node& node) {
  ConvolutionSpec spec = spec_of(dtype, program, node);
  const ConvolutionApply apply = apply_of(node, node.find("a") != nullptr);
  if (is_masked(node)) {
    spec.mask = apply;
    spec.addend = node.find("addend") != nullptr;
  } else {
    spec.prologue = apply;
    spec.statistics = is_forward(node);
  }
  return spec;
}

// The weights' copy comes later, and is dense.
bool is_dense(const Program& program, const Node& node) {
  for (const auto* side : {&node.reads, &node.writes})
    for (const Operand& operand : *side) {
      const Value& value = program.value(operand);
      if (value.shape.pixels() > 1 && (operand.count != value.shape.c || operand.count % 8 != 0)) return false;
    }
  return true;
}

struct Pair {
  std::string_view a, b;
  Port a_port, b_port;
};
constexpr Pair kPair{"a", "b", Port::a, Port::b};
constexpr Pair kResidualPair{"residual_a", "residual_b", Port::residual_a, Port::residual_b};
constexpr Pair kGradientPair{"a_grad", "b_grad", Port::a_grad, Port::b_grad};
constexpr Pair kResidualGradientPair{"residual_a_grad", "residual_b_grad", Port::residual_a_grad,
                                     Port::residual_b_grad};

/// A part of the workspace for each small array that the plan wants in another type.
struct FusedLayout {
  void *plan = nullptr, *weight_grad = nullptr;
  PortPointers arrays;
  uint64_t bytes = 0;
};
// The nodes have f32 where a prologue takes f16, and f64 where an epilogue gives f32.
bool is_converted(const PortUse& use) {
  switch (use.port) {
    case Port::a:
    case Port::b:
    case Port::residual_a:
    case Port::residual_b:
      return use.dtype != Dtype::f32;
    case Port::a_grad:
    case Port::b_grad:
    case Port::residual_a_grad:
    case Port::residual_b_grad:
    case Port::sum_of_values:
    case Port::sum_of_squares:
      return true;
    default:
      return false;
  }
}

FusedLayout fused_layout(const ConvolutionSpec& spec, uint64_t plan_bytes, std::byte* workspace) {
  Parts parts(workspace);
  FusedLayout layout;
  layout.plan = parts.take(plan_bytes);
  if (spec.pass == ConvolutionPass::weight_gradient)
    layout.weight_grad =
        parts.take(static_cast<uint64_t>(spec.o * spec.kernel * spec.kernel * spec.c) * size_of(spec.dtype));
  for (const PortUse& use : ports_of(spec))
    if (is_converted(use))
      layout.arrays[use.port] = parts.take(static_cast<uint64_t>(use.shape.c) * size_of(use.dtype));
  layout.bytes = parts.bytes();
  return layout;
}

}  // namespace

bool supports_fused(const Context& context, const Program& program, const Node& node) {
  if (context.dtype() != Dtype::f16 || !is_dense(program, node)) return false;
  if (node.find("a") != nullptr && !node.flag("relu")) return false;
  if (!is_forward(node) && !is_masked(node) && node.find("weight_grad") == nullptr) return false;
  const ConvolutionSpec spec = fused_spec_of(context.dtype(), program, node);
  const Product product = product_of(program, node);
  return spec.c == product.src.c && spec.o == product.dst.c && context.convolutions().find(spec) != nullptr;
}

uint64_t fused_product_workspace(Context& context, const Program& program, const Node& node) {
  const ConvolutionSpec spec = fused_spec_of(context.dtype(), program, node);
  return fused_layout(spec, context.convolutions().chosen(spec).workspace(), nullptr).bytes;
}

Run bind_fused_product(Context& context, const Site& site) {
  const Node& node = site.node();
  const ConvolutionSpec spec = fused_spec_of(context.dtype(), site.program(), node);
  const Convolutions::Chosen chosen = context.convolutions().chosen(spec);
  const FusedLayout layout = fused_layout(spec, chosen.workspace(), site.array<std::byte>("workspace"));
  const cudaStream_t stream = stream_of(site.stream());
  PortPointers pointers = layout.arrays;
  for (const PortUse& use : ports_of(spec))
    if (pointers[use.port] == nullptr) pointers[use.port] = site.array<void>(name_of(use.port));
  for (const Port port : {Port::zeros, Port::residual_zeros}) pointers[port] = context.zeros();
  for (const Port port : {Port::ones, Port::residual_ones}) pointers[port] = context.ones();

  std::vector<std::function<void()>> before, after;
  for (const Pair& pair : {kPair, kResidualPair}) {
    void* const a = layout.arrays[pair.a_port];
    void* const b = layout.arrays[pair.b_port];
    if (a == nullptr) continue;
    before.emplace_back([=, from_a = site.array<float>(pair.a), from_b = site.array<float>(pair.b), channels = spec.c] {
      round_pair(spec.dtype, from_a, from_b, a, b, channels, stream);
    });
  }
  for (const Pair& pair : {kGradientPair, kResidualGradientPair}) {
    const auto* const a = static_cast<const float*>(layout.arrays[pair.a_port]);
    const auto* const b = static_cast<const float*>(layout.arrays[pair.b_port]);
    if (a == nullptr) continue;
    after.emplace_back([=, to_a = site.array<double>(pair.a), to_b = site.array<double>(pair.b), channels = spec.c] {
      widen_pair(a, b, to_a, to_b, channels, stream);
    });
  }
  if (spec.statistics) {
    const int64_t first = node.at("dst").first;
    const auto count = static_cast<double>(spec.n * spec.dst_h() * spec.dst_w());
    const auto* const values = static_cast<const float*>(layout.arrays[Port::sum_of_values]);
    const auto* const squares = static_cast<const float*>(layout.arrays[Port::sum_of_squares]);
    for (const Node& inner : node.body) {
      if (!inner.is(kStatistics)) continue;
      const Site of = site.of(inner);
      const int64_t from = inner.at("src").first - first;
      after.emplace_back([=, mean = of.array<float>("mean"), variance = of.array<float>("variance"),
                          channels = inner.at("src").count] {
        moments_of_sums(values + from, squares + from, mean, variance, channels, count, stream);
      });
    }
  }
  if (spec.pass == ConvolutionPass::weight_gradient) {
    pointers[Port::weight_grad] = layout.weight_grad;
    const Weights weights{spec.o, spec.c, spec.kernel * spec.kernel, spec.c};
    after.emplace_back([=, from = layout.weight_grad, to = site.array<float>("weight_grad")] {
      weight_gradient(spec.dtype, from, to, weights, stream);
    });
  }
  return [=, handle = context.convolutions().handle(stream)](const StepCall&) {
    for (const auto& pass : before) pass();
    chosen.plans->execute(handle, chosen.candidate, pointers, chosen.workspace() > 0 ? layout.plan : nullptr);
    for (const auto& pass : after) pass();
  };
}

void pad_input(Program& program) {
  for (Node& node : program.nodes) {
    if (!node.is(kInput)) continue;
    Operand& dst = node.writes.front();
    Value& value = program.values[static_cast<size_t>(dst.value)];
    if (value.storage == Storage::slab) dst.count = value.shape.c = padded_channels(value.shape.c);
  }
}

namespace {

bool is_product(const Node& node) {
  return (node.find("weight") != nullptr && node.find("new_weight") == nullptr) || node.find("weight_grad") != nullptr;
}

// What a node that only passes over its operands reads and writes.
double bytes_of(const Program& program, const Node& node) {
  double bytes = 0;
  for (const auto* side : {&node.reads, &node.writes})
    for (const Operand& operand : *side)
      bytes += static_cast<double>(program.shape(operand).count()) *
               static_cast<double>(size_of(program.value(operand).dtype));
  return bytes;
}

}  // namespace

// A convolution's statistics can be fused with it all the same.
bool worth_fusing(const Context& context, const Program& program, const std::vector<Node>& fused,
                  const std::vector<Node>& plain) {
  Convolutions& convolutions = context.convolutions();
  std::string question = "fuse";
  for (const Node& node : fused)
    if (is_product(node)) question += "; " + fused_spec_of(context.dtype(), program, node).text();
  if (question == "fuse") return true;
  return convolutions.decided(question, true, [&] {
    double by_fused = 0, by_plain = 0;
    for (const Node& node : fused)
      by_fused += is_product(node) ? convolutions.seconds(fused_spec_of(context.dtype(), program, node))
                                   : bytes_of(program, node) / convolutions.bandwidth();
    for (size_t n = 0; n < plain.size(); ++n) {
      if (!is_product(plain[n])) {
        by_plain += bytes_of(program, plain[n]) / convolutions.bandwidth();
        continue;
      }
      ConvolutionSpec spec = spec_of(context.dtype(), program, plain[n]);
      const double alone = convolutions.seconds(spec);
      double passes = 0;
      size_t next = n + 1;
      for (; next < plain.size() && plain[next].is(kStatistics); ++next)
        passes += bytes_of(program, plain[next]) / convolutions.bandwidth();
      double together = alone + passes;
      spec.statistics = passes > 0;
      if (passes > 0 && convolutions.find(spec) != nullptr) together = std::min(together, convolutions.seconds(spec));
      by_plain += together;
      n = next - 1;
    }
    return by_fused <= by_plain;
  });
}

std::optional<WeightCopy> weight_copy(Dtype dtype, const Program& program, const Node& node) {
  if (node.find("weight") == nullptr || node.find("new_weight") != nullptr) return std::nullopt;
  const Product product = product_of(program, node);
  const ConvolutionSpec spec = spec_of(dtype, program, node);
  constexpr int64_t kAligned = 4;  // numbers in the 16 bytes that cuDNN wants weights to begin at
  const bool as_it_is = spec.dtype == Dtype::f32 && spec.kernel == 1 && spec.c == product.src.c &&
                        spec.o == product.dst.c && node.at("weight").first % kAligned == 0;
  if (as_it_is) return std::nullopt;
  const Shape shape{spec.o, spec.kernel, spec.kernel, spec.c};
  return WeightCopy{
      .name = std::string(kChannelsLast),
      .dtype = spec.dtype,
      .shape = shape,
      .layout = kChannelsLast,
      .layout_bytes = static_cast<uint64_t>(shape.count()) * size_of(spec.dtype),
      .numbers = {{"outputs", static_cast<double>(product.dst.c)}, {"channels", static_cast<double>(product.src.c)}}};
}

}  // namespace packhorse::cuda
