#include <algorithm>
#include <vector>

#include "device/array.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"
#include "ops/cpu/primitive.h"

namespace packhorse::cpu {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// Three matrix products over plain arrays. In bf16, each operand is first rounded into a copy; sums and results stay
// f32.
class FullyConnected : public Operation {
 public:
  FullyConnected(Context& context, const FullyConnectedTask& task) : context_(context), task_(task) {
    const size_t half = task.dtype == Dtype::bf16 ? 1 : 0;
    src_ = DeviceArray<Bf16>(host_device(), half * static_cast<size_t>(task.n * task.c));
    weight_ = DeviceArray<Bf16>(host_device(), half * static_cast<size_t>(task.o * task.c));
    context.count_packed(weight_.bytes());
    const Matrix src{operand(src_, task.src), task.n, task.c}, weight{operand(weight_, task.weight), task.o, task.c};
    forward_ = product(src, transposed(weight), task.dst, task.n, task.o, task.bias);
    if (context.training()) {
      dst_grad_ = DeviceArray<Bf16>(host_device(), half * static_cast<size_t>(task.n * task.o));
      const Matrix dst_grad{operand(dst_grad_, task.dst_grad), task.n, task.o};
      backward_data_ = product(dst_grad, weight, task.src_grad, task.n, task.c, nullptr);
      backward_weights_ = product(transposed(dst_grad), src, task.weight_grad, task.o, task.c, nullptr);
    }
    context.want_scratch(scratchpad_bytes_, [this](std::byte* scratch) {
      for (Bound* bound : {&forward_, &backward_data_, &backward_weights_})
        bound->set_address(DNNL_ARG_SCRATCHPAD, scratch);
    });
  }

  void forward(Phase /*phase*/) override {
    round(task_.src, src_);
    forward_.run();
  }

  void backward() override {
    round(task_.dst_grad, dst_grad_);
    backward_weights_.run();
    for (int64_t o = 0; o < task_.o; ++o) task_.bias_grad[o] = 0;
    for (int64_t n = 0; n < task_.n; ++n)
      for (int64_t o = 0; o < task_.o; ++o) task_.bias_grad[o] += task_.dst_grad[n * task_.o + o];
    backward_data_.run();
  }

  void parameters_changed() override { round(task_.weight, weight_); }

 private:
  struct Matrix {
    const void* data;
    int64_t rows, columns;
    bool transposed = false;  // stored as (columns, rows)
  };
  static Matrix transposed(const Matrix& m) { return {m.data, m.columns, m.rows, !m.transposed}; }

  static const void* operand(const DeviceArray<Bf16>& copy, const float* original) {
    return copy.size() > 0 ? static_cast<const void*>(copy.data()) : original;
  }

  Bound product(const Matrix& a, const Matrix& b, float* dst, int64_t rows, int64_t columns, const float* bias) {
    const auto describe = [&](const Matrix& m) {
      return memory::desc({m.rows, m.columns}, type_of(task_.dtype), m.transposed ? Tag::ba : Tag::ab);
    };
    const auto f32 = memory::data_type::f32;
    const memory::desc dst_desc({rows, columns}, f32, Tag::ab);
    const memory::desc bias_desc = bias != nullptr ? memory::desc({1, columns}, f32, Tag::ab) : memory::desc();
    const dnnl::matmul::primitive_desc description({describe(a), describe(b), bias_desc, dst_desc}, user_scratchpad(),
                                                   cpu_engine());
    scratchpad_bytes_ = std::max(scratchpad_bytes_, description.scratchpad_desc().get_size());
    std::vector<Bound::Argument> arguments = {{DNNL_ARG_SRC, memory_at(describe(a), a.data)},
                                              {DNNL_ARG_WEIGHTS, memory_at(describe(b), b.data)},
                                              {DNNL_ARG_DST, memory_at(dst_desc, dst)},
                                              {DNNL_ARG_SCRATCHPAD, memory_at(description.scratchpad_desc())}};
    if (bias != nullptr) arguments.emplace_back(DNNL_ARG_BIAS, memory_at(bias_desc, bias));
    return {dnnl::matmul(description), std::move(arguments)};
  }

  void round(const float* src, DeviceArray<Bf16>& dst) const {
    constexpr int64_t kPiece = 65536;
    const auto count = static_cast<int64_t>(dst.size());
    context_.each((count + kPiece - 1) / kPiece, [&](int64_t piece) {
      to_bf16(src + piece * kPiece, dst.data() + piece * kPiece, std::min(kPiece, count - piece * kPiece));
    });
  }

  Context& context_;
  const FullyConnectedTask task_;
  DeviceArray<Bf16> src_, weight_, dst_grad_;  // (N, C), (O, C), (N, O); empty in f32
  Bound forward_, backward_data_, backward_weights_;
  size_t scratchpad_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Operation> make(Context& context, const FullyConnectedTask& task) {
  return std::make_unique<FullyConnected>(context, task);
}

}  // namespace packhorse::cpu
