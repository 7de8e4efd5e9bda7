// The inner loops of the operations that do not use oneDNN. One file, compiled for several instruction sets; the loader
// chooses one when the program starts.
//
// Rule: a kernel works on one chunk, on one thread, and knows nothing of threads. Chunks depend on shapes alone, never
// on the number of threads, and their sums are added in order, in f64: results are the same for any number of threads.
#pragma once

#include <cstdint>
#include <string>

#include "tensor/types.h"

namespace packhorse::cpu {

/// The instruction set that the loader chose: "x86-64-v4", "x86-64-v3", or "x86-64", which every such machine has; "as
/// compiled" on other machines, and with a compiler that makes only one version (base/clones.h).
std::string kernel_instructions();

/// Pixels in memory: pixel p's channels begin at data + p * stride elements.
struct Rows {
  void* data = nullptr;
  int64_t stride = 0;
};

/// For each channel, over `pixels` pixels: the mean, and the sum of squared differences from the mean.
void channel_moments(Dtype dtype, Rows src, int64_t pixels, int64_t channels, float* mean, float* squares);

/// dst = src * a + b, then ReLU if `relu`.
void scale_shift(Dtype dtype, Rows src, Rows dst, int64_t pixels, int64_t channels, const float* a, const float* b,
                 bool relu);
/// dst = src * a + b, rounded to dtype, then + residual, then ReLU if `relu`.
void scale_shift_add(Dtype dtype, Rows src, Rows residual, Rows dst, int64_t pixels, int64_t channels, const float* a,
                     const float* b, bool relu);

/// With g = dst_grad where src * a + b > 0 (everywhere without relu): sums of g and of g * (src - mean).
void gradient_sums(Dtype dtype, Rows src, Rows dst_grad, int64_t pixels, int64_t channels, const float* a,
                   const float* b, const float* mean, bool relu, float* sum, float* product);
/// src_grad = a * g + k * (src - mean) + l, added to the values already there if `accumulate`; may overwrite src.
void normalised_gradient(Dtype dtype, Rows src, Rows dst_grad, Rows src_grad, int64_t pixels, int64_t channels,
                         const float* a, const float* b, const float* mean, const float* k, const float* l, bool relu,
                         bool accumulate);

/// The geometry of a pool.
struct PoolShape {
  int64_t src_h = 0, src_w = 0, dst_h = 0, dst_w = 0, channels = 0;
  int64_t kernel = 1, stride = 1, pad = 0;
};
/// Row y of dst of one image. All Rows begin at the image's first pixel; argmax (pixels of dst, channels) may be null.
void max_pool_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows src, Rows dst, uint8_t* argmax);
void average_pool_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows src, Rows dst);
/// Row y of src_grad of one image.
void max_pool_gradient_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows dst_grad, const uint8_t* argmax,
                           Rows src_grad, bool accumulate);
void average_pool_gradient_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows dst_grad, Rows src_grad,
                               bool accumulate);

/// dst = mean of `pixels` pixels.
void mean_of_pixels(Dtype dtype, Rows src, int64_t pixels, int64_t channels, float* dst);
/// Sets each of `pixels` pixels to src * factor, or adds it if `accumulate`.
void spread_to_pixels(Dtype dtype, const float* src, float factor, Rows dst, int64_t pixels, int64_t channels,
                      bool accumulate);

/// dst = a + b, then ReLU if `relu`.
void add_rows(Dtype dtype, Rows a, Rows b, Rows dst, int64_t pixels, int64_t channels, bool relu);
/// grad = dst_grad where dst > 0 (everywhere for a null dst), added to the values already there if `accumulate`.
void masked_gradient(Dtype dtype, Rows dst, Rows dst_grad, Rows grad, int64_t pixels, int64_t channels,
                     bool accumulate);

void to_bf16(const float* src, Bf16* dst, int64_t count);

/// The greatest of `count` numbers; NaN if one of them is NaN.
float greatest(const float* src, int64_t count);
/// dst = exp(src - shift); returns the sum.
double exp_shifted(const float* src, float shift, float* dst, int64_t count);
/// values = values * factor + offset.
void scale_offset(float* values, float factor, float offset, int64_t count);

}  // namespace packhorse::cpu
