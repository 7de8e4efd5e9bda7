// The convolutions that oneDNN was asked for, by their geometry, and the layouts of weights that it asks for in return.
// A program asks while it is rewritten, planned and bound: the answer is looked for once.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "ops/cpu/primitive.h"
#include "ops/program.h"

namespace packhorse::cpu {

struct Geometry {
  Shape src, dst;
  int64_t kernel = 1, stride = 1, pad = 0;
  Dtype dtype = Dtype::f32;

  auto key() const { return std::tuple(src.n, src.h, src.w, src.c, dst.h, dst.w, dst.c, kernel, stride, pad, dtype); }
  dnnl::memory::dims weights() const { return {dst.c, src.c, kernel, kernel}; }
};

class Convolutions {
 public:
  explicit Convolutions(bool training) : training_(training) {}

  using Forward = dnnl::convolution_forward::primitive_desc;
  using Data = dnnl::convolution_backward_data::primitive_desc;
  using Weights = dnnl::convolution_backward_weights::primitive_desc;

  const Forward& forward(const Geometry& geometry);
  const Data& data(const Geometry& geometry);
  const Weights& weights(const Geometry& geometry);

  /// The name of a layout of weights; empty for the plain one, f32 (O, C, K, K).
  std::string name_of(const dnnl::memory::desc& layout);
  const dnnl::memory::desc& layout(const std::string& name) const;

 private:
  struct Known {
    std::optional<Forward> forward;
    std::optional<Data> data;
    std::optional<Weights> weights;
  };
  bool training_;
  std::map<decltype(Geometry().key()), Known> known_;
  std::vector<dnnl::memory::desc> layouts_;
};

}  // namespace packhorse::cpu
