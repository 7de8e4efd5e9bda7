#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>

#include "base/error.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"
#include "ops/cpu/convolutions.h"

namespace packhorse::cpu {

namespace {

using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;

constexpr size_t kPage = 4096;
size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

memory::desc channels_last(const Shape& shape, Dtype dtype) {
  return {{shape.n, shape.c, shape.h, shape.w}, type_of(dtype), Tag::nhwc};
}
memory::desc any_layout(const Geometry& g, memory::data_type type) { return {g.weights(), type, Tag::any}; }
memory::desc plain_weights(const memory::dims& dims) { return {dims, memory::data_type::f32, Tag::oihw}; }

memory::dims strides(const Geometry& g) { return {g.stride, g.stride}; }
memory::dims padding_before(const Geometry& g) { return {g.pad, g.pad}; }
// The padding behind the image may differ from that before it: what the last window needs.
memory::dims padding_behind(const Geometry& g) {
  return {(g.dst.h - 1) * g.stride + g.kernel - g.src.h - g.pad, (g.dst.w - 1) * g.stride + g.kernel - g.src.w - g.pad};
}

// The roles differ between a convolution and its gradients; the geometry is the same.
Geometry geometry_of(const Program& program, const Node& node) {
  const Operand& src = node.at(node.is(kConvolutionDataGradient) ? "src_grad" : "src");
  const Operand& dst = node.at(node.is(kConvolution) ? "dst" : "dst_grad");
  for (const Operand* operand : {&src, &dst})
    if (operand->count != program.value(*operand).shape.c)
      throw Error({"a convolution reads and writes whole values, not ranges of channels", node.name,
                   "let it read a value of its own"});
  return {.src = program.shape(src),
          .dst = program.shape(dst),
          .kernel = static_cast<int64_t>(node.number("kernel")),
          .stride = static_cast<int64_t>(node.number("stride")),
          .pad = static_cast<int64_t>(node.number("pad")),
          .dtype = program.value(dst).dtype};
}

// oneDNN's own words for what it cannot do mean nothing without the layer.
template <typename Work>
auto explained(const std::string& layer, const Work& work) {
  try {
    return work();
  } catch (const dnnl::error& error) {
    throw Error({std::string("oneDNN cannot compute this layer: ") + error.what(), layer,
                 "use dtype f32, or the backend reference"});
  }
}

template <typename Description>
size_t scratchpad_bytes(const Description& description) {
  return whole_pages(description.scratchpad_desc().get_size());
}

memory scratchpad_at(const dnnl::primitive_desc_base& description, std::byte* address) {
  return memory_at(description.scratchpad_desc(), address);
}

// The gradient of the weights comes in a layout of oneDNN's own; the flat array has the plain one.
bool needs_unpacking(const Convolutions::Weights& description, const Geometry& geometry) {
  return description.diff_weights_desc() != plain_weights(geometry.weights());
}

}  // namespace

const Convolutions::Forward& Convolutions::forward(const Geometry& g) {
  Known& known = known_[g.key()];
  if (!known.forward)
    known.forward = describe<dnnl::convolution_forward>(
        training_ ? prop_kind::forward_training : prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
        channels_last(g.src, g.dtype), any_layout(g, type_of(g.dtype)), channels_last(g.dst, g.dtype), strides(g),
        padding_before(g), padding_behind(g));
  return *known.forward;
}

const Convolutions::Data& Convolutions::data(const Geometry& g) {
  const Forward& hint = forward(g);
  Known& known = known_[g.key()];
  if (!known.data)
    known.data = describe_gradient<dnnl::convolution_backward_data>(
        hint, dnnl::algorithm::convolution_direct, channels_last(g.src, g.dtype), any_layout(g, type_of(g.dtype)),
        channels_last(g.dst, g.dtype), strides(g), padding_before(g), padding_behind(g));
  return *known.data;
}

const Convolutions::Weights& Convolutions::weights(const Geometry& g) {
  const Forward& hint = forward(g);
  Known& known = known_[g.key()];
  if (!known.weights)
    known.weights = describe_gradient<dnnl::convolution_backward_weights>(
        hint, dnnl::algorithm::convolution_direct, channels_last(g.src, g.dtype), any_layout(g, memory::data_type::f32),
        channels_last(g.dst, g.dtype), strides(g), padding_before(g), padding_behind(g));
  return *known.weights;
}

std::string Convolutions::name_of(const memory::desc& layout) {
  if (layout == plain_weights(dims_of(layout))) return "";
  const auto found = std::find(layouts_.begin(), layouts_.end(), layout);
  const auto number = found - layouts_.begin();
  if (found == layouts_.end()) layouts_.push_back(layout);
  return "layout " + std::to_string(number + 1);
}

const memory::desc& Convolutions::layout(const std::string& name) const {
  return layouts_.at(static_cast<size_t>(std::stoi(name.substr(name.find(' ') + 1)) - 1));
}

WeightLayout weight_layout(Context& context, const Program& program, const Node& node) {
  return explained(node.name, [&]() -> WeightLayout {
    const Geometry geometry = geometry_of(program, node);
    Convolutions& all = context.convolutions();
    const memory::desc layout =
        node.is(kConvolution) ? all.forward(geometry).weights_desc() : all.data(geometry).weights_desc();
    return {all.name_of(layout), layout.get_size()};
  });
}

uint64_t convolution_workspace(Context& context, const Program& program, const Node& node) {
  return explained(node.name, [&]() -> uint64_t {
    const Geometry geometry = geometry_of(program, node);
    Convolutions& all = context.convolutions();
    if (node.is(kConvolution)) return scratchpad_bytes(all.forward(geometry));
    if (node.is(kConvolutionDataGradient)) {
      const auto& description = all.data(geometry);
      const bool adds = node.find("src_grad_addend") != nullptr;
      return scratchpad_bytes(description) + (adds ? whole_pages(description.diff_src_desc().get_size()) : 0);
    }
    const auto& description = all.weights(geometry);
    return scratchpad_bytes(description) +
           (needs_unpacking(description, geometry) ? whole_pages(description.diff_weights_desc().get_size()) : 0);
  });
}

Run bind_convolution(Context& context, const Site& site) {
  return explained(site.name(), [&]() -> Run {
    const auto& description = context.convolutions().forward(geometry_of(site.program(), site.node()));
    const Bound bound(dnnl::convolution_forward(description),
                      {{DNNL_ARG_SRC, memory_at(description.src_desc(), site.view("src").data)},
                       {DNNL_ARG_WEIGHTS, memory_at(description.weights_desc(), site.view("weight").data)},
                       {DNNL_ARG_DST, memory_at(description.dst_desc(), site.view("dst").data)},
                       {DNNL_ARG_SCRATCHPAD, scratchpad_at(description, site.array<std::byte>("workspace"))}});
    return [bound](const StepCall&) { bound.run(); };
  });
}

Run bind_convolution_data_gradient(Context& context, const Site& site) {
  return explained(site.name(), [&]() -> Run {
    const auto& description = context.convolutions().data(geometry_of(site.program(), site.node()));
    const Gradient src_grad(site, "src_grad");
    // What is added to must not be overwritten: the contribution goes to the workspace first.
    auto* workspace = site.array<std::byte>("workspace");
    void* dst = src_grad.view().data;
    if (src_grad.accumulates()) {
      dst = workspace;
      workspace += whole_pages(description.diff_src_desc().get_size());
    }
    const Bound bound(dnnl::convolution_backward_data(description),
                      {{DNNL_ARG_DIFF_SRC, memory_at(description.diff_src_desc(), dst)},
                       {DNNL_ARG_WEIGHTS, memory_at(description.weights_desc(), site.view("weight").data)},
                       {DNNL_ARG_DIFF_DST, memory_at(description.diff_dst_desc(), site.view("dst_grad").data)},
                       {DNNL_ARG_SCRATCHPAD, scratchpad_at(description, workspace)}});
    if (!src_grad.accumulates()) return [bound](const StepCall&) { bound.run(); };
    View contribution = src_grad.view();
    contribution.data = dst;
    return [&context, bound, src_grad, contribution](const StepCall&) {
      bound.run();
      src_grad.begin(context);
      const View& sum = src_grad.view();
      const Chunks chunks(sum.shape);
      context.each(chunks.count(), [&](int64_t chunk) {
        const int64_t first = chunks.first(chunk);
        masked_gradient(sum.dtype, {}, rows_from(contribution, first), rows_from(sum, first), chunks.size(chunk),
                        sum.shape.c, true);
      });
    };
  });
}

Run bind_convolution_weight_gradient(Context& context, const Site& site) {
  return explained(site.name(), [&]() -> Run {
    const Geometry geometry = geometry_of(site.program(), site.node());
    const auto& description = context.convolutions().weights(geometry);
    const bool unpack = needs_unpacking(description, geometry);
    auto* workspace = site.array<std::byte>("workspace");
    auto* plain = site.array<float>("weight_grad");
    const memory gradient = memory_at(description.diff_weights_desc(), unpack ? static_cast<void*>(workspace) : plain);
    if (unpack) workspace += whole_pages(description.diff_weights_desc().get_size());
    const Bound bound(dnnl::convolution_backward_weights(description),
                      {{DNNL_ARG_SRC, memory_at(description.src_desc(), site.view("src").data)},
                       {DNNL_ARG_DIFF_DST, memory_at(description.diff_dst_desc(), site.view("dst_grad").data)},
                       {DNNL_ARG_DIFF_WEIGHTS, gradient},
                       {DNNL_ARG_SCRATCHPAD, scratchpad_at(description, workspace)}});
    if (!unpack) return [bound](const StepCall&) { bound.run(); };
    const Bound unpacking = reorder(gradient, memory_at(plain_weights(geometry.weights()), plain));
    return [bound, unpacking](const StepCall&) {
      bound.run();
      unpacking.run();
    };
  });
}

Run bind_copy(Context& context, const Site& site) {
  const Value& dst = site.program().value(site.node().at("dst"));
  if (!dst.layout.empty()) {
    const memory::desc& layout = context.convolutions().layout(dst.layout);
    const Bound bound = reorder(memory_at(plain_weights(dims_of(layout)), site.view("src").data),
                                memory_at(layout, site.view("dst").data));
    return [bound](const StepCall&) { bound.run(); };
  }
  const int64_t count = site.view("src").shape.count();
  if (dst.dtype == Dtype::f32)
    return [src = site.array<float>("src"), to = site.array<float>("dst"), count](const StepCall&) {
      std::copy_n(src, count, to);
    };
  return [&context, src = site.array<float>("src"), to = site.array<Bf16>("dst"), count](const StepCall&) {
    constexpr int64_t kPiece = 65536;
    context.each((count + kPiece - 1) / kPiece, [&](int64_t piece) {
      to_bf16(src + piece * kPiece, to + piece * kPiece, std::min(kPiece, count - piece * kPiece));
    });
  };
}

}  // namespace packhorse::cpu
