#include "ops/cpu/kernels.h"

#include <algorithm>
#include <cstring>

#include "base/clones.h"

#define PACKHORSE_BEST "x86-64-v4"
#define PACKHORSE_GOOD "x86-64-v3"
#define PACKHORSE_KERNEL PACKHORSE_CLONES("arch=" PACKHORSE_BEST, "arch=" PACKHORSE_GOOD)
#define PACKHORSE_INLINE inline __attribute__((always_inline))

namespace packhorse::cpu {

namespace {

using Floats = float __attribute__((vector_size(64)));
using Words = uint32_t __attribute__((vector_size(64)));
using Ints = int32_t __attribute__((vector_size(64)));
using Halves = uint16_t __attribute__((vector_size(32)));
using Bytes = uint8_t __attribute__((vector_size(16)));
constexpr int64_t kLanes = 16;
// Long sums are sums of runs: the rounding error then grows with the root of a run's length, not of the whole length.
constexpr int64_t kRun = 64;

template <typename Vector, typename T>
PACKHORSE_INLINE Vector read(const T* src) {
  Vector vector;
  std::memcpy(&vector, src, sizeof vector);
  return vector;
}
template <typename Vector, typename T>
PACKHORSE_INLINE void write(T* dst, const Vector& vector) {
  std::memcpy(static_cast<void*>(dst), &vector, sizeof vector);
}

PACKHORSE_INLINE Floats load(const float* src) { return read<Floats>(src); }
PACKHORSE_INLINE Floats load(const Bf16* src) {
  return reinterpret_cast<Floats>(__builtin_convertvector(read<Halves>(src), Words) << 16);
}
PACKHORSE_INLINE void store(float* dst, Floats value) { write(dst, value); }
// Rounds to nearest, ties to even. A NaN that arithmetic produces has low bits of zero, so it stays a NaN.
PACKHORSE_INLINE void store(Bf16* dst, Floats value) {
  const Words word = reinterpret_cast<Words>(value);
  write(dst, __builtin_convertvector((word + 0x7fff + ((word >> 16) & 1)) >> 16, Halves));
}
PACKHORSE_INLINE float load_one(const float* src) { return *src; }
PACKHORSE_INLINE float load_one(const Bf16* src) { return static_cast<float>(*src); }
PACKHORSE_INLINE void store_one(float* dst, float value) { *dst = value; }
PACKHORSE_INLINE void store_one(Bf16* dst, float value) { *dst = Bf16(value); }

PACKHORSE_INLINE Floats splat(float value) { return value - Floats{}; }
PACKHORSE_INLINE Floats keep_where(Ints mask, Floats value) {
  return reinterpret_cast<Floats>(reinterpret_cast<Ints>(value) & mask);
}

template <typename T>
PACKHORSE_INLINE T* row(Rows rows, int64_t pixel) {
  return static_cast<T*>(rows.data) + pixel * rows.stride;
}

// Calls body.wide<V>(c) for blocks of V * 16 channels, then body.one(c) for the remaining channels.
template <int kWidest, typename Body>
PACKHORSE_INLINE void each_block(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + kWidest * kLanes <= channels; c += kWidest * kLanes) body.template wide<kWidest>(c);
  for (; c + kLanes <= channels; c += kLanes) body.template wide<1>(c);
  for (; c < channels; ++c) body.one(c);
}

template <typename T>
struct Moments {
  Rows src;
  int64_t pixels;
  float *mean, *squares;

  // Sums the differences from the first pixel: no digits cancel if the mean is far from 0.
  template <int V>
  PACKHORSE_INLINE void wide(int64_t c) const {
    Floats first[V], sum[V], square[V];
    for (int v = 0; v < V; ++v) {
      first[v] = load(row<T>(src, 0) + c + v * kLanes);
      sum[v] = square[v] = Floats{};
    }
    for (int64_t begin = 0; begin < pixels; begin += kRun) {
      Floats run[V] = {}, run_square[V] = {};
      for (int64_t p = begin; p < std::min(begin + kRun, pixels); ++p)
        for (int v = 0; v < V; ++v) {
          const Floats difference = load(row<T>(src, p) + c + v * kLanes) - first[v];
          run[v] += difference;
          run_square[v] += difference * difference;
        }
      for (int v = 0; v < V; ++v) {
        sum[v] += run[v];
        square[v] += run_square[v];
      }
    }
    const float inverse = 1.0f / static_cast<float>(pixels);
    for (int v = 0; v < V; ++v) {
      store(mean + c + v * kLanes, first[v] + sum[v] * inverse);
      store(squares + c + v * kLanes, square[v] - sum[v] * sum[v] * inverse);
    }
  }
  PACKHORSE_INLINE void one(int64_t c) const {
    const float first = load_one(row<T>(src, 0) + c);
    float sum = 0, square = 0;
    for (int64_t p = 0; p < pixels; ++p) {
      const float difference = load_one(row<T>(src, p) + c) - first;
      sum += difference;
      square += difference * difference;
    }
    mean[c] = first + sum / static_cast<float>(pixels);
    squares[c] = square - sum * sum / static_cast<float>(pixels);
  }
};

template <typename T>
PACKHORSE_INLINE void scale_shift_rows(Rows src, Rows dst, int64_t pixels, int64_t channels, const float* a,
                                       const float* b, bool relu) {
  const Ints always = relu ? Ints{} : ~Ints{};
  for (int64_t p = 0; p < pixels; ++p) {
    const T* from = row<T>(src, p);
    T* to = row<T>(dst, p);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Floats value = load(from + c) * load(a + c) + load(b + c);
      store(to + c, keep_where((value > 0) | always, value));
    }
    for (; c < channels; ++c) {
      const float value = load_one(from + c) * a[c] + b[c];
      store_one(to + c, relu && !(value > 0) ? 0.0f : value);
    }
  }
}

// What the value would be after a store and a load.
PACKHORSE_INLINE Floats rounded(const float* /*as*/, Floats value) { return value; }
PACKHORSE_INLINE Floats rounded(const Bf16* /*as*/, Floats value) {
  const Words word = reinterpret_cast<Words>(value);
  return reinterpret_cast<Floats>((word + 0x7fff + ((word >> 16) & 1)) & 0xffff0000);
}
PACKHORSE_INLINE float rounded_one(const float* /*as*/, float value) { return value; }
PACKHORSE_INLINE float rounded_one(const Bf16* /*as*/, float value) { return static_cast<float>(Bf16(value)); }

template <typename T>
PACKHORSE_INLINE void scale_shift_add_rows(Rows src, Rows residual, Rows dst, int64_t pixels, int64_t channels,
                                           const float* a, const float* b, bool relu) {
  for (int64_t p = 0; p < pixels; ++p) {
    const T *from = row<T>(src, p), *other = row<T>(residual, p);
    T* to = row<T>(dst, p);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Floats value = rounded(from, load(from + c) * load(a + c) + load(b + c)) + load(other + c);
      store(to + c, relu ? keep_where(value > 0, value) : value);
    }
    for (; c < channels; ++c) {
      const float value = rounded_one(from, load_one(from + c) * a[c] + b[c]) + load_one(other + c);
      store_one(to + c, relu && !(value > 0) ? 0.0f : value);
    }
  }
}

template <typename T>
struct GradientSums {
  Rows src, dst_grad;
  int64_t pixels;
  const float *a, *b, *mean;
  bool relu;
  float *sum, *product;

  template <int V>
  PACKHORSE_INLINE void wide(int64_t c) const {
    const Ints always = relu ? Ints{} : ~Ints{};
    Floats sums[V], products[V], scale[V], shift[V], centre[V];
    for (int v = 0; v < V; ++v) {
      sums[v] = products[v] = Floats{};
      scale[v] = load(a + c + v * kLanes);
      shift[v] = load(b + c + v * kLanes);
      centre[v] = load(mean + c + v * kLanes);
    }
    for (int64_t begin = 0; begin < pixels; begin += kRun) {
      Floats run[V] = {}, run_product[V] = {};
      for (int64_t p = begin; p < std::min(begin + kRun, pixels); ++p)
        for (int v = 0; v < V; ++v) {
          const Floats value = load(row<T>(src, p) + c + v * kLanes);
          const Ints passes = (value * scale[v] + shift[v] > 0) | always;
          const Floats gradient = keep_where(passes, load(row<T>(dst_grad, p) + c + v * kLanes));
          run[v] += gradient;
          run_product[v] += gradient * (value - centre[v]);
        }
      for (int v = 0; v < V; ++v) {
        sums[v] += run[v];
        products[v] += run_product[v];
      }
    }
    for (int v = 0; v < V; ++v) {
      store(sum + c + v * kLanes, sums[v]);
      store(product + c + v * kLanes, products[v]);
    }
  }
  PACKHORSE_INLINE void one(int64_t c) const {
    sum[c] = product[c] = 0;
    for (int64_t p = 0; p < pixels; ++p) {
      const float value = load_one(row<T>(src, p) + c);
      const float gradient = !relu || value * a[c] + b[c] > 0 ? load_one(row<T>(dst_grad, p) + c) : 0.0f;
      sum[c] += gradient;
      product[c] += gradient * (value - mean[c]);
    }
  }
};

template <typename T, bool kAccumulate>
PACKHORSE_INLINE void normalised_gradient_rows(Rows src, Rows dst_grad, Rows src_grad, int64_t pixels, int64_t channels,
                                               const float* a, const float* b, const float* mean, const float* k,
                                               const float* l, bool relu) {
  const Ints always = relu ? Ints{} : ~Ints{};
  for (int64_t p = 0; p < pixels; ++p) {
    const T *from = row<T>(src, p), *gradient = row<T>(dst_grad, p);
    T* to = row<T>(src_grad, p);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Floats value = load(from + c), scale = load(a + c);
      const Ints passes = (value * scale + load(b + c) > 0) | always;
      Floats result =
          scale * keep_where(passes, load(gradient + c)) + load(k + c) * (value - load(mean + c)) + load(l + c);
      if (kAccumulate) result += load(to + c);
      store(to + c, result);
    }
    for (; c < channels; ++c) {
      const float value = load_one(from + c);
      const float g = !relu || value * a[c] + b[c] > 0 ? load_one(gradient + c) : 0.0f;
      const float result = a[c] * g + k[c] * (value - mean[c]) + l[c];
      store_one(to + c, kAccumulate ? result + load_one(to + c) : result);
    }
  }
}

// The taps [first, last) of a window that are inside an image of `size`.
struct WindowRange {
  int64_t first, last;
};
PACKHORSE_INLINE WindowRange taps_inside(int64_t begin, int64_t kernel, int64_t size) {
  return {std::max<int64_t>(0, -begin), std::min(kernel, size - begin)};
}
// The windows [first, last) that contain the source's `place`.
PACKHORSE_INLINE WindowRange windows_over(int64_t place, const PoolShape& s, int64_t windows) {
  const int64_t padded = place + s.pad;
  const int64_t first = padded < s.kernel ? 0 : (padded - s.kernel) / s.stride + 1;
  return {first, std::min(windows, padded / s.stride + 1)};
}

template <typename T>
PACKHORSE_INLINE void max_pool(const PoolShape& s, int64_t y, Rows src, Rows dst, uint8_t* argmax) {
  const int64_t top = y * s.stride - s.pad;
  const WindowRange rows = taps_inside(top, s.kernel, s.src_h);
  for (int64_t x = 0; x < s.dst_w; ++x) {
    const int64_t left = x * s.stride - s.pad, pixel = y * s.dst_w + x;
    const WindowRange columns = taps_inside(left, s.kernel, s.src_w);
    const T* corner = row<T>(src, (top + rows.first) * s.src_w + left + columns.first);
    const auto first_tap = static_cast<int32_t>(rows.first * s.kernel + columns.first);
    int64_t c = 0;
    for (; c + kLanes <= s.channels; c += kLanes) {
      Floats best = load(corner + c);
      Ints place = first_tap - Ints{};
      for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j) {
          const Floats value = load(row<T>(src, (top + i) * s.src_w + left + j) + c);
          const Ints greater = value > best;
          best = greater ? value : best;
          place = greater ? static_cast<int32_t>(i * s.kernel + j) - Ints{} : place;
        }
      store(row<T>(dst, pixel) + c, best);
      if (argmax != nullptr) write(argmax + pixel * s.channels + c, __builtin_convertvector(place, Bytes));
    }
    for (; c < s.channels; ++c) {
      float best = load_one(corner + c);
      int32_t place = first_tap;
      for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j) {
          const float value = load_one(row<T>(src, (top + i) * s.src_w + left + j) + c);
          if (!(value > best)) continue;
          best = value;
          place = static_cast<int32_t>(i * s.kernel + j);
        }
      store_one(row<T>(dst, pixel) + c, best);
      if (argmax != nullptr) argmax[pixel * s.channels + c] = static_cast<uint8_t>(place);
    }
  }
}

template <typename T>
PACKHORSE_INLINE void average_pool(const PoolShape& s, int64_t y, Rows src, Rows dst) {
  const float factor = 1.0f / static_cast<float>(s.kernel * s.kernel);
  const int64_t top = y * s.stride - s.pad;
  const WindowRange rows = taps_inside(top, s.kernel, s.src_h);
  for (int64_t x = 0; x < s.dst_w; ++x) {
    const int64_t left = x * s.stride - s.pad;
    const WindowRange columns = taps_inside(left, s.kernel, s.src_w);
    T* to = row<T>(dst, y * s.dst_w + x);
    int64_t c = 0;
    for (; c + kLanes <= s.channels; c += kLanes) {
      Floats sum{};
      for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j)
          sum += load(row<T>(src, (top + i) * s.src_w + left + j) + c);
      store(to + c, sum * factor);
    }
    for (; c < s.channels; ++c) {
      float sum = 0;
      for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j)
          sum += load_one(row<T>(src, (top + i) * s.src_w + left + j) + c);
      store_one(to + c, sum * factor);
    }
  }
}

// Sums, for one source pixel, over the windows that contain it, so that no two threads write to the same place.
template <typename T, bool kMaximum, bool kAccumulate>
struct PoolGradient {
  const PoolShape& s;
  int64_t y, x;
  WindowRange rows, columns;  // windows
  Rows dst_grad;
  const uint8_t* argmax;
  float factor;
  T* to;

  template <typename Visit>
  PACKHORSE_INLINE void each_window(const Visit& visit) const {
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t j = columns.first; j < columns.last; ++j)
        visit(i * s.dst_w + j, static_cast<int32_t>((y + s.pad - i * s.stride) * s.kernel + x + s.pad - j * s.stride));
  }
  template <int V>
  PACKHORSE_INLINE void wide(int64_t c) const {
    Floats sum[V] = {};
    each_window([&](int64_t pixel, int32_t tap) __attribute__((always_inline)) {
      for (int v = 0; v < V; ++v) {
        const Floats gradient = load(row<T>(dst_grad, pixel) + c + v * kLanes);
        if (kMaximum) {
          const uint8_t* places = argmax + pixel * s.channels + c + v * kLanes;
          sum[v] += keep_where(__builtin_convertvector(read<Bytes>(places), Ints) == tap, gradient);
        } else {
          sum[v] += gradient;
        }
      }
    });
    for (int v = 0; v < V; ++v) {
      const Floats result = sum[v] * factor;
      store(to + c + v * kLanes, kAccumulate ? result + load(to + c + v * kLanes) : result);
    }
  }
  PACKHORSE_INLINE void one(int64_t c) const {
    float sum = 0;
    each_window([&](int64_t pixel, int32_t tap) __attribute__((always_inline)) {
      if (!kMaximum || argmax[pixel * s.channels + c] == tap) sum += load_one(row<T>(dst_grad, pixel) + c);
    });
    store_one(to + c, kAccumulate ? sum * factor + load_one(to + c) : sum * factor);
  }
};

template <typename T, bool kMaximum, bool kAccumulate>
PACKHORSE_INLINE void pool_gradient(const PoolShape& s, int64_t y, Rows dst_grad, const uint8_t* argmax,
                                    Rows src_grad) {
  const float factor = kMaximum ? 1.0f : 1.0f / static_cast<float>(s.kernel * s.kernel);
  const WindowRange rows = windows_over(y, s, s.dst_h);
  for (int64_t x = 0; x < s.src_w; ++x)
    each_block<2>(s.channels,
                  PoolGradient<T, kMaximum, kAccumulate>{s, y, x, rows, windows_over(x, s, s.dst_w), dst_grad, argmax,
                                                         factor, row<T>(src_grad, y * s.src_w + x)});
}

template <typename T>
struct PixelMean {
  Rows src;
  int64_t pixels;
  float* dst;
  template <int V>
  PACKHORSE_INLINE void wide(int64_t c) const {
    Floats sum[V] = {};
    for (int64_t p = 0; p < pixels; ++p)
      for (int v = 0; v < V; ++v) sum[v] += load(row<T>(src, p) + c + v * kLanes);
    for (int v = 0; v < V; ++v) store(dst + c + v * kLanes, sum[v] / static_cast<float>(pixels));
  }
  PACKHORSE_INLINE void one(int64_t c) const {
    float sum = 0;
    for (int64_t p = 0; p < pixels; ++p) sum += load_one(row<T>(src, p) + c);
    dst[c] = sum / static_cast<float>(pixels);
  }
};

template <typename T, bool kAccumulate>
PACKHORSE_INLINE void spread(const float* src, float factor, Rows dst, int64_t pixels, int64_t channels) {
  for (int64_t p = 0; p < pixels; ++p) {
    T* to = row<T>(dst, p);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes)
      store(to + c, kAccumulate ? load(to + c) + load(src + c) * factor : load(src + c) * factor);
    for (; c < channels; ++c) store_one(to + c, kAccumulate ? load_one(to + c) + src[c] * factor : src[c] * factor);
  }
}

template <typename T>
PACKHORSE_INLINE void add(Rows a, Rows b, Rows dst, int64_t pixels, int64_t channels, bool relu) {
  const Ints always = relu ? Ints{} : ~Ints{};
  for (int64_t p = 0; p < pixels; ++p) {
    const T *x = row<T>(a, p), *y = row<T>(b, p);
    T* to = row<T>(dst, p);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      const Floats sum = load(x + c) + load(y + c);
      store(to + c, keep_where((sum > 0) | always, sum));
    }
    for (; c < channels; ++c) {
      const float sum = load_one(x + c) + load_one(y + c);
      store_one(to + c, relu && !(sum > 0) ? 0.0f : sum);
    }
  }
}

template <typename T, bool kMasked, bool kAccumulate>
PACKHORSE_INLINE void masked(Rows dst, Rows dst_grad, Rows grad, int64_t pixels, int64_t channels) {
  for (int64_t p = 0; p < pixels; ++p) {
    const T *value = kMasked ? row<T>(dst, p) : nullptr, *from = row<T>(dst_grad, p);
    T* to = row<T>(grad, p);
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      Floats result = load(from + c);
      if (kMasked) result = keep_where(load(value + c) > 0, result);
      if (kAccumulate) result += load(to + c);
      store(to + c, result);
    }
    for (; c < channels; ++c) {
      const float result = !kMasked || load_one(value + c) > 0 ? load_one(from + c) : 0.0f;
      store_one(to + c, kAccumulate ? result + load_one(to + c) : result);
    }
  }
}

// exp with an error of about two units in the last place: 2^n * e^r with |r| <= ln 2 / 2, e^r by its Taylor series.
PACKHORSE_INLINE Floats exponential(Floats x) {
  const Floats low = splat(-87.0f);
  const Ints vanishes = x < low;  // false for NaN, which stays NaN
  const Floats bounded = vanishes ? low : x;
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats n = (bounded * 1.44269504f + magic) - magic;
  const Floats r = (bounded - n * 0.693145752f) - n * 1.42860677e-6f;
  Floats e = splat(1.0f / 5040);
  for (const float coefficient : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    e = e * r + coefficient;
  const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
  return keep_where(~vanishes, e * reinterpret_cast<Floats>(power));
}

PACKHORSE_INLINE void round_all(const float* src, Bf16* dst, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(dst + i, load(src + i));
  for (; i < count; ++i) dst[i] = Bf16(src[i]);
}

PACKHORSE_INLINE double exponentials(const float* src, float shift, float* dst, int64_t count) {
  Floats sums{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats value = exponential(load(src + i) - shift);
    store(dst + i, value);
    sums += value;
  }
  double sum = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) sum += sums[lane];
  for (; i < count; ++i) sum += dst[i] = exponential(splat(src[i] - shift))[0];
  return sum;
}

}  // namespace

#define PACKHORSE_BY_DTYPE(call_f32, call_bf16) \
  if (dtype == Dtype::f32) {                    \
    call_f32;                                   \
  } else {                                      \
    call_bf16;                                  \
  }

PACKHORSE_KERNEL
void channel_moments(Dtype dtype, Rows src, int64_t pixels, int64_t channels, float* mean, float* squares){
    PACKHORSE_BY_DTYPE(each_block<4>(channels, Moments<float>{src, pixels, mean, squares}),
                       each_block<4>(channels, Moments<Bf16>{src, pixels, mean, squares}))}

PACKHORSE_KERNEL
    void scale_shift(Dtype dtype, Rows src, Rows dst, int64_t pixels, int64_t channels, const float* a, const float* b,
                     bool relu){PACKHORSE_BY_DTYPE(scale_shift_rows<float>(src, dst, pixels, channels, a, b, relu),
                                                   scale_shift_rows<Bf16>(src, dst, pixels, channels, a, b, relu))}

PACKHORSE_KERNEL void scale_shift_add(Dtype dtype, Rows src, Rows residual, Rows dst, int64_t pixels, int64_t channels,
                                      const float* a, const float* b, bool relu){
    PACKHORSE_BY_DTYPE(scale_shift_add_rows<float>(src, residual, dst, pixels, channels, a, b, relu),
                       scale_shift_add_rows<Bf16>(src, residual, dst, pixels, channels, a, b, relu))}

PACKHORSE_KERNEL
    void gradient_sums(Dtype dtype, Rows src, Rows dst_grad, int64_t pixels, int64_t channels, const float* a,
                       const float* b, const float* mean, bool relu, float* sum, float* product){PACKHORSE_BY_DTYPE(
        each_block<4>(channels, GradientSums<float>{src, dst_grad, pixels, a, b, mean, relu, sum, product}),
        each_block<4>(channels, GradientSums<Bf16>{src, dst_grad, pixels, a, b, mean, relu, sum, product}))}

PACKHORSE_KERNEL void normalised_gradient(Dtype dtype, Rows src, Rows dst_grad, Rows src_grad, int64_t pixels,
                                          int64_t channels, const float* a, const float* b, const float* mean,
                                          const float* k, const float* l, bool relu, bool accumulate) {
  if (accumulate) {
    PACKHORSE_BY_DTYPE(
        (normalised_gradient_rows<float, true>(src, dst_grad, src_grad, pixels, channels, a, b, mean, k, l, relu)),
        (normalised_gradient_rows<Bf16, true>(src, dst_grad, src_grad, pixels, channels, a, b, mean, k, l, relu)))
  } else {
    PACKHORSE_BY_DTYPE(
        (normalised_gradient_rows<float, false>(src, dst_grad, src_grad, pixels, channels, a, b, mean, k, l, relu)),
        (normalised_gradient_rows<Bf16, false>(src, dst_grad, src_grad, pixels, channels, a, b, mean, k, l, relu)))
  }
}

PACKHORSE_KERNEL
void max_pool_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows src, Rows dst, uint8_t* argmax){
    PACKHORSE_BY_DTYPE(max_pool<float>(shape, y, src, dst, argmax), max_pool<Bf16>(shape, y, src, dst, argmax))}

PACKHORSE_KERNEL void average_pool_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows src, Rows dst){
    PACKHORSE_BY_DTYPE(average_pool<float>(shape, y, src, dst), average_pool<Bf16>(shape, y, src, dst))}

PACKHORSE_KERNEL void max_pool_gradient_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows dst_grad,
                                            const uint8_t* argmax, Rows src_grad, bool accumulate) {
  if (accumulate) {
    PACKHORSE_BY_DTYPE((pool_gradient<float, true, true>(shape, y, dst_grad, argmax, src_grad)),
                       (pool_gradient<Bf16, true, true>(shape, y, dst_grad, argmax, src_grad)))
  } else {
    PACKHORSE_BY_DTYPE((pool_gradient<float, true, false>(shape, y, dst_grad, argmax, src_grad)),
                       (pool_gradient<Bf16, true, false>(shape, y, dst_grad, argmax, src_grad)))
  }
}

PACKHORSE_KERNEL
void average_pool_gradient_row(Dtype dtype, const PoolShape& shape, int64_t y, Rows dst_grad, Rows src_grad,
                               bool accumulate) {
  if (accumulate) {
    PACKHORSE_BY_DTYPE((pool_gradient<float, false, true>(shape, y, dst_grad, nullptr, src_grad)),
                       (pool_gradient<Bf16, false, true>(shape, y, dst_grad, nullptr, src_grad)))
  } else {
    PACKHORSE_BY_DTYPE((pool_gradient<float, false, false>(shape, y, dst_grad, nullptr, src_grad)),
                       (pool_gradient<Bf16, false, false>(shape, y, dst_grad, nullptr, src_grad)))
  }
}

PACKHORSE_KERNEL
void mean_of_pixels(Dtype dtype, Rows src, int64_t pixels, int64_t channels,
                    float* dst){PACKHORSE_BY_DTYPE(each_block<4>(channels, PixelMean<float>{src, pixels, dst}),
                                                   each_block<4>(channels, PixelMean<Bf16>{src, pixels, dst}))}

PACKHORSE_KERNEL void spread_to_pixels(Dtype dtype, const float* src, float factor, Rows dst, int64_t pixels,
                                       int64_t channels, bool accumulate) {
  if (accumulate) {
    PACKHORSE_BY_DTYPE((spread<float, true>(src, factor, dst, pixels, channels)),
                       (spread<Bf16, true>(src, factor, dst, pixels, channels)))
  } else {
    PACKHORSE_BY_DTYPE((spread<float, false>(src, factor, dst, pixels, channels)),
                       (spread<Bf16, false>(src, factor, dst, pixels, channels)))
  }
}

PACKHORSE_KERNEL
void add_rows(Dtype dtype, Rows a, Rows b, Rows dst, int64_t pixels, int64_t channels, bool relu){
    PACKHORSE_BY_DTYPE(add<float>(a, b, dst, pixels, channels, relu), add<Bf16>(a, b, dst, pixels, channels, relu))}

PACKHORSE_KERNEL void masked_gradient(Dtype dtype, Rows dst, Rows dst_grad, Rows grad, int64_t pixels, int64_t channels,
                                      bool accumulate) {
  if (dst.data != nullptr && accumulate) {
    PACKHORSE_BY_DTYPE((masked<float, true, true>(dst, dst_grad, grad, pixels, channels)),
                       (masked<Bf16, true, true>(dst, dst_grad, grad, pixels, channels)))
  } else if (dst.data != nullptr) {
    PACKHORSE_BY_DTYPE((masked<float, true, false>(dst, dst_grad, grad, pixels, channels)),
                       (masked<Bf16, true, false>(dst, dst_grad, grad, pixels, channels)))
  } else if (accumulate) {
    PACKHORSE_BY_DTYPE((masked<float, false, true>(dst, dst_grad, grad, pixels, channels)),
                       (masked<Bf16, false, true>(dst, dst_grad, grad, pixels, channels)))
  } else {
    PACKHORSE_BY_DTYPE((masked<float, false, false>(dst, dst_grad, grad, pixels, channels)),
                       (masked<Bf16, false, false>(dst, dst_grad, grad, pixels, channels)))
  }
}

std::string kernel_instructions() {
#if PACKHORSE_HAS_CLONES
  if (__builtin_cpu_supports(PACKHORSE_BEST) != 0) return PACKHORSE_BEST;
  if (__builtin_cpu_supports(PACKHORSE_GOOD) != 0) return PACKHORSE_GOOD;
  return "x86-64";
#else
  return "as compiled";
#endif
}

PACKHORSE_KERNEL
void to_bf16(const float* src, Bf16* dst, int64_t count) { round_all(src, dst, count); }

PACKHORSE_KERNEL
float greatest(const float* src, int64_t count) {
  float best = src[0];
  for (int64_t i = 1; i < count; ++i) best = src[i] > best || src[i] != src[i] ? src[i] : best;
  return best;
}

PACKHORSE_KERNEL
double exp_shifted(const float* src, float shift, float* dst, int64_t count) {
  return exponentials(src, shift, dst, count);
}

PACKHORSE_KERNEL
void scale_offset(float* values, float factor, float offset, int64_t count) {
  for (int64_t i = 0; i < count; ++i) values[i] = values[i] * factor + offset;
}

}  // namespace packhorse::cpu
