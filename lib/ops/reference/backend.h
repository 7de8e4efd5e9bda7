// The reference backend: plain loops over f32 with sums in f64. Correct, not fast: the tests check the other backends
// against it. It runs plain nodes only: a fused one makes way for its body.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "ops/backend.h"
#include "ops/nodes.h"

namespace packhorse::reference {

/// f32.
std::vector<Dtype> types();
/// Throws an Error for a dtype other than f32.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

/// Kernels share nothing.
struct Context {};

Run bind_input(Context& context, const Site& site);
Run bind_convolution(Context& context, const Site& site);
Run bind_convolution_data_gradient(Context& context, const Site& site);
Run bind_convolution_weight_gradient(Context& context, const Site& site);
Run bind_statistics(Context& context, const Site& site);
Run bind_finish(Context& context, const Site& site);
Run bind_apply(Context& context, const Site& site);
Run bind_apply_gradient(Context& context, const Site& site);
Run bind_finish_gradient(Context& context, const Site& site);
Run bind_statistics_gradient(Context& context, const Site& site);
Run bind_add(Context& context, const Site& site);
Run bind_add_gradient(Context& context, const Site& site);
Run bind_max_pool(Context& context, const Site& site);
Run bind_max_pool_gradient(Context& context, const Site& site);
Run bind_average_pool(Context& context, const Site& site);
Run bind_average_pool_gradient(Context& context, const Site& site);
Run bind_global_pool(Context& context, const Site& site);
Run bind_global_pool_gradient(Context& context, const Site& site);
Run bind_copy_channels(Context& context, const Site& site);
Run bind_copy_channels_gradient(Context& context, const Site& site);
Run bind_fill(Context& context, const Site& site);
Run bind_fully_connected(Context& context, const Site& site);
Run bind_fully_connected_data_gradient(Context& context, const Site& site);
Run bind_fully_connected_weight_gradient(Context& context, const Site& site);
Run bind_bias_gradient(Context& context, const Site& site);
Run bind_loss(Context& context, const Site& site);
Run bind_loss_gradient(Context& context, const Site& site);
Run bind_norm(Context& context, const Site& site);
Run bind_copy(Context& context, const Site& site);
Run bind_running_statistics(Context& context, const Site& site);
Run bind_sgd(Context& context, const Site& site);

/// The channels of one pixel.
inline float* at(const View& view, int64_t n, int64_t y, int64_t x) {
  return static_cast<float*>(view.data) + ((n * view.shape.h + y) * view.shape.w + x) * view.pixel_stride;
}
/// The channels of pixel `pixel` of the whole batch.
inline float* at(const View& view, int64_t pixel) { return static_cast<float*>(view.data) + pixel * view.pixel_stride; }

/// Calls visit(n, y, x) for each pixel.
template <typename Visit>
void each_pixel(const Shape& shape, const Visit& visit) {
  for (int64_t n = 0; n < shape.n; ++n)
    for (int64_t y = 0; y < shape.h; ++y)
      for (int64_t x = 0; x < shape.w; ++x) visit(n, y, x);
}

/// Calls visit(source row, source column, place in the window) for each tap of pixel (y, x) that is inside the source.
struct Window {
  int kernel = 1, stride = 1, pad = 0;
  explicit Window(const Site& site)
      : kernel(site.integer("kernel")), stride(site.integer("stride")), pad(site.integer("pad")) {}
  template <typename Visit>
  void each_tap(const Shape& src, int64_t y, int64_t x, const Visit& visit) const {
    for (int i = 0; i < kernel; ++i)
      for (int j = 0; j < kernel; ++j) {
        const int64_t sy = y * stride + i - pad, sx = x * stride + j - pad;
        if (sy >= 0 && sy < src.h && sx >= 0 && sx < src.w) visit(sy, sx, i * kernel + j);
      }
  }
};

/// A gradient begins as the sum of the contributions before it, or as zeros; then it is added to.
class Gradient {
 public:
  Gradient(const Site& site, const std::string& role) : dst_(site.view(role)), addend_(site.view(role + "_addend")) {}
  const View& begin() const {
    for (int64_t p = 0; p < dst_.shape.pixels(); ++p)
      for (int64_t c = 0; c < dst_.shape.c; ++c) at(dst_, p)[c] = before(p, c);
    return dst_;
  }
  /// For kernels that write each element once: the result may lie where they read.
  float before(int64_t pixel, int64_t c) const { return addend_.data == nullptr ? 0.0f : at(addend_, pixel)[c]; }
  const View& view() const { return dst_; }

 private:
  View dst_, addend_;
};

}  // namespace packhorse::reference
