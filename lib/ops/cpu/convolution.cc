#include <algorithm>
#include <cstddef>
#include <string>

#include "base/error.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"
#include "ops/cpu/primitive.h"

namespace packhorse::cpu {

namespace {

using dnnl::memory;
using dnnl::prop_kind;
using Tag = memory::format_tag;

constexpr size_t kPage = 4096;
size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

memory::desc channels_last(const View& view, const std::string& name) {
  if (!view.dense())
    throw Error({"a convolution reads and writes whole tensors, not ranges of channels", name,
                 "give the tensor a buffer of its own in the schedule"});
  return {{view.shape.n, view.shape.c, view.shape.h, view.shape.w}, type_of(view.dtype), Tag::nhwc};
}

// There are up to three copies of the weights: the f32 master, the blocked layout that forward reads and, if it
// differs, the blocked layout that backward reads. oneDNN computes the gradient in a blocked layout; it is reordered
// into the plain order of the flat array.
class Convolution : public Operation {
 public:
  Convolution(Context& context, const ConvolutionTask& task) : context_(context), task_(task), geometry_(task) {
    const auto forward = make_forward();
    if (context.training()) {
      if (task.src_grad.view.data != nullptr) make_backward_data(forward);
      make_backward_weights(forward);
    }
    ask_for_scratch();
  }

  void forward(Phase /*phase*/) override { forward_.run(); }

  void backward() override {
    backward_weights_.run();
    if (unpack_gradient_) unpack_gradient_.run();
    if (!backward_data_) return;
    backward_data_.run();
    if (accumulates()) add_to_source();
  }

  void parameters_changed() override {
    if (pack_forward_) pack_forward_.run();
    if (pack_backward_) pack_backward_.run();
  }

 private:
  struct Geometry {
    explicit Geometry(const ConvolutionTask& t)
        : strides{t.stride, t.stride},
          before{t.pad, t.pad},
          after{(t.dst.shape.h - 1) * t.stride + t.kernel - t.src.shape.h - t.pad,
                (t.dst.shape.w - 1) * t.stride + t.kernel - t.src.shape.w - t.pad},
          weights{t.dst.shape.c, t.src.shape.c, t.kernel, t.kernel} {}
    memory::dims strides, before, after, weights;
  };

  bool accumulates() const { return task_.src_grad.accumulate; }

  memory::desc any_weights(memory::data_type type) const { return {geometry_.weights, type, Tag::any}; }
  memory::desc plain_weights() const { return {geometry_.weights, memory::data_type::f32, Tag::oihw}; }

  dnnl::convolution_forward::primitive_desc make_forward() {
    const auto src = channels_last(task_.src, task_.name), dst = channels_last(task_.dst, task_.name);
    dnnl::convolution_forward::primitive_desc description(
        {context_.training() ? prop_kind::forward_training : prop_kind::forward_inference,
         dnnl::algorithm::convolution_direct, src, any_weights(type_of(task_.src.dtype)), dst, geometry_.strides,
         geometry_.before, geometry_.after},
        user_scratchpad(), cpu_engine());
    const memory weights = packed(description.weights_desc(), pack_forward_);
    forward_ = Bound(dnnl::convolution_forward(description), {{DNNL_ARG_SRC, memory_at(src, task_.src.data)},
                                                              {DNNL_ARG_WEIGHTS, weights},
                                                              {DNNL_ARG_DST, memory_at(dst, task_.dst.data)},
                                                              scratchpad(description)});
    return description;
  }

  void make_backward_data(const dnnl::convolution_forward::primitive_desc& forward) {
    const auto src = channels_last(task_.src_grad.view, task_.name), dst = channels_last(task_.dst_grad, task_.name);
    const dnnl::convolution_backward_data::primitive_desc description(
        {dnnl::algorithm::convolution_direct, src, any_weights(type_of(task_.src.dtype)), dst, geometry_.strides,
         geometry_.before, geometry_.after},
        user_scratchpad(), cpu_engine(), forward);
    const bool same = description.weights_desc() == forward.weights_desc();
    const memory weights = same ? forward_weights_ : packed(description.weights_desc(), pack_backward_);
    if (accumulates()) temporary_bytes_ = whole_pages(src.get_size());
    backward_data_ =
        Bound(dnnl::convolution_backward_data(description),
              {{DNNL_ARG_DIFF_SRC, memory_at(src, accumulates() ? DNNL_MEMORY_NONE : task_.src_grad.view.data)},
               {DNNL_ARG_WEIGHTS, weights},
               {DNNL_ARG_DIFF_DST, memory_at(dst, task_.dst_grad.data)},
               scratchpad(description)});
  }

  void make_backward_weights(const dnnl::convolution_forward::primitive_desc& forward) {
    const auto src = channels_last(task_.src, task_.name), dst = channels_last(task_.dst_grad, task_.name);
    const dnnl::convolution_backward_weights::primitive_desc description(
        {dnnl::algorithm::convolution_direct, src, any_weights(memory::data_type::f32), dst, geometry_.strides,
         geometry_.before, geometry_.after},
        user_scratchpad(), cpu_engine(), forward);
    const auto blocked = description.diff_weights_desc();
    const bool plain = blocked == plain_weights();
    if (!plain) temporary_bytes_ = std::max(temporary_bytes_, whole_pages(blocked.get_size()));
    const memory gradient = memory_at(blocked, plain ? task_.weight_grad : DNNL_MEMORY_NONE);
    backward_weights_ = Bound(dnnl::convolution_backward_weights(description),
                              {{DNNL_ARG_SRC, memory_at(src, task_.src.data)},
                               {DNNL_ARG_DIFF_DST, memory_at(dst, task_.dst_grad.data)},
                               {DNNL_ARG_DIFF_WEIGHTS, gradient},
                               scratchpad(description)});
    if (!plain) unpack_gradient_ = reorder(gradient, memory_at(plain_weights(), task_.weight_grad));
  }

  // The weights in the layout that a primitive asks for: a copy, or the master itself if it has this layout.
  memory packed(const memory::desc& desc, Bound& pack) {
    const memory master = memory_at(plain_weights(), task_.weight);
    memory copy = desc == plain_weights() ? master : memory(desc, cpu_engine());
    if (copy.get_data_handle() != task_.weight) {
      pack = reorder(master, copy);
      context_.count_packed(desc.get_size());
    }
    if (!forward_) forward_weights_ = copy;
    return copy;
  }

  template <typename Description>
  Bound::Argument scratchpad(const Description& description) {
    scratchpad_bytes_ = std::max(scratchpad_bytes_, description.scratchpad_desc().get_size());
    return {DNNL_ARG_SCRATCHPAD, memory_at(description.scratchpad_desc())};
  }

  void ask_for_scratch() {
    context_.want_scratch(temporary_bytes_ + scratchpad_bytes_, [this](std::byte* scratch) {
      temporary_ = scratch;
      for (Bound* bound : {&forward_, &backward_data_, &backward_weights_})
        bound->set_address(DNNL_ARG_SCRATCHPAD, scratch + temporary_bytes_);
      if (accumulates()) backward_data_.set_address(DNNL_ARG_DIFF_SRC, scratch);
      if (!unpack_gradient_) return;
      backward_weights_.set_address(DNNL_ARG_DIFF_WEIGHTS, scratch);
      unpack_gradient_.set_address(DNNL_ARG_FROM, scratch);
    });
  }

  void add_to_source() {
    View temporary = task_.src_grad.view;
    temporary.data = temporary_;
    const View& gradient = task_.src_grad.view;
    const Chunks chunks(gradient.shape.pixels(), gradient.shape.c);
    context_.each(chunks.count(), [&](int64_t chunk) {
      const int64_t first = chunks.first(chunk);
      masked_gradient(gradient.dtype, {}, rows_from(temporary, first), rows_from(gradient, first), chunks.size(chunk),
                      gradient.shape.c, true);
    });
  }

  Context& context_;
  const ConvolutionTask task_;
  const Geometry geometry_;
  Bound forward_, backward_data_, backward_weights_, pack_forward_, pack_backward_, unpack_gradient_;
  memory forward_weights_;
  size_t temporary_bytes_ = 0, scratchpad_bytes_ = 0;
  std::byte* temporary_ = nullptr;
};

}  // namespace

std::unique_ptr<Operation> make(Context& context, const ConvolutionTask& task) {
  return std::make_unique<Convolution>(context, task);
}

}  // namespace packhorse::cpu
