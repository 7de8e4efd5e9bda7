#include <algorithm>
#include <vector>

#include "ops/cpu/backend.h"
#include "ops/cpu/context.h"
#include "ops/cpu/primitive.h"

namespace packhorse::cpu {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

/// A matrix in a plain array, or the transpose of one.
struct Matrix {
  int64_t rows = 0, columns = 0;
  Dtype dtype = Dtype::f32;
  bool transposed = false;  // stored as (columns, rows)
  memory::desc desc() const { return {{rows, columns}, type_of(dtype), transposed ? Tag::ba : Tag::ab}; }
};

Matrix matrix(int64_t rows, int64_t columns, Dtype dtype) { return {rows, columns, dtype}; }
Matrix transposed(const Matrix& m) { return {m.columns, m.rows, m.dtype, !m.transposed}; }

/// The product that a node asks for: (rows, inner) * (inner, columns), sums and result in f32.
struct Product {
  Matrix a, b;
  const char *a_role, *b_role, *dst_role;
  bool bias = false;

  Product(const Program& program, const Node& node) {
    const auto shape = [&](const char* role) { return program.shape(node.at(role)); };
    const auto dtype = [&](const char* role) { return program.value(node.at(role)).dtype; };
    if (node.is(kFullyConnected)) {
      const int64_t inputs = shape("src").c, outputs = shape("dst").c;
      a = matrix(shape("src").n, inputs, dtype(a_role = "src"));
      b = transposed(matrix(outputs, inputs, dtype(b_role = "weight")));
      dst_role = "dst";
      bias = true;
    } else if (node.is(kFullyConnectedDataGradient)) {
      const int64_t inputs = shape("src_grad").c, outputs = shape("dst_grad").c;
      a = matrix(shape("dst_grad").n, outputs, dtype(a_role = "dst_grad"));
      b = matrix(outputs, inputs, dtype(b_role = "weight"));
      dst_role = "src_grad";
    } else {
      const int64_t inputs = shape("src").c, outputs = shape("dst_grad").c, images = shape("src").n;
      a = transposed(matrix(images, outputs, dtype(a_role = "dst_grad")));
      b = matrix(images, inputs, dtype(b_role = "src"));
      dst_role = "weight_grad";
    }
  }
  dnnl::matmul::primitive_desc description() const {
    const auto f32 = memory::data_type::f32;
    const memory::desc dst({a.rows, b.columns}, f32, Tag::ab);
    const memory::desc bias_desc = bias ? memory::desc({1, b.columns}, f32, Tag::ab) : memory::desc();
    return describe<dnnl::matmul>(a.desc(), b.desc(), bias_desc, dst);
  }
};

Run bind_product(const Site& site) {
  const Product product(site.program(), site.node());
  const dnnl::matmul::primitive_desc description = product.description();
  std::vector<Bound::Argument> arguments = {
      {DNNL_ARG_SRC, memory_at(product.a.desc(), site.view(product.a_role).data)},
      {DNNL_ARG_WEIGHTS, memory_at(product.b.desc(), site.view(product.b_role).data)},
      {DNNL_ARG_DST, memory_at(description.dst_desc(), site.view(product.dst_role).data)},
      {DNNL_ARG_SCRATCHPAD, memory_at(description.scratchpad_desc(), site.view("workspace").data)}};
  if (product.bias)
    arguments.emplace_back(
        DNNL_ARG_BIAS,
        memory_at(memory::desc({1, product.b.columns}, memory::data_type::f32, Tag::ab), site.view("bias").data));
  const Bound bound(dnnl::matmul(description), std::move(arguments));
  return [bound](const StepCall&) { bound.run(); };
}

}  // namespace

uint64_t fully_connected_workspace(Context& /*context*/, const Program& program, const Node& node) {
  return Product(program, node).description().scratchpad_desc().get_size();
}

Run bind_fully_connected(Context& /*context*/, const Site& site) { return bind_product(site); }
Run bind_fully_connected_weight_gradient(Context& /*context*/, const Site& site) { return bind_product(site); }
Run bind_fully_connected_data_gradient(Context& /*context*/, const Site& site) { return bind_product(site); }

Run bind_bias_gradient(Context& /*context*/, const Site& site) {
  return [dst_grad = site.array<float>("dst_grad"), bias_grad = site.array<float>("bias_grad"),
          images = site.view("dst_grad").shape.n, outputs = site.count("dst_grad")](const StepCall&) {
    for (int64_t o = 0; o < outputs; ++o) bias_grad[o] = 0;
    for (int64_t n = 0; n < images; ++n)
      for (int64_t o = 0; o < outputs; ++o) bias_grad[o] += dst_grad[n * outputs + o];
  };
}

}  // namespace packhorse::cpu
