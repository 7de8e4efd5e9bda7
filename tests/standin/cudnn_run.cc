#include "standin/cudnn_run.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/clones.h"

namespace packhorse::standin {
namespace {

// Blocks of a product: so many rows at once, so many columns at once. Rows may be read kWide numbers beyond their end.
constexpr int64_t kTall = 4, kWide = 16;
using Lane = float __attribute__((vector_size(32), aligned(4), may_alias));
constexpr int64_t kLane = 8;
constexpr size_t kMeetings = 128;

// sums(r, v) = sum over i of the rows' places: rows[i * kTall + r][j] * weights(i, j, v). Null rows are zeros.
PACKHORSE_CLONES("arch=x86-64-v3")
void multiply_rows(const float* const* rows, int64_t places, int64_t depth, const float* weights, float* sums) {
  Lane low[kTall] = {}, high[kTall] = {};
  for (int64_t i = 0; i < places; ++i, rows += kTall, weights += depth * kWide) {
    // The zeros of a null row: any row of the same length times 0 would make NaN of an infinite number.
    const bool all = rows[0] != nullptr && rows[1] != nullptr && rows[2] != nullptr && rows[3] != nullptr;
    if (all) {
      for (int64_t j = 0; j < depth; ++j) {
        const Lane first = *reinterpret_cast<const Lane*>(weights + j * kWide),
                   second = *reinterpret_cast<const Lane*>(weights + j * kWide + kLane);
        for (int64_t r = 0; r < kTall; ++r) {
          low[r] += rows[r][j] * first;
          high[r] += rows[r][j] * second;
        }
      }
      continue;
    }
    for (int64_t r = 0; r < kTall; ++r) {
      if (rows[r] == nullptr) continue;
      for (int64_t j = 0; j < depth; ++j) {
        low[r] += rows[r][j] * *reinterpret_cast<const Lane*>(weights + j * kWide);
        high[r] += rows[r][j] * *reinterpret_cast<const Lane*>(weights + j * kWide + kLane);
      }
    }
  }
  for (int64_t r = 0; r < kTall; ++r) {
    std::memcpy(sums + r * kWide, &low[r], sizeof low[r]);
    std::memcpy(sums + r * kWide + kLane, &high[r], sizeof high[r]);
  }
}

// A pixel of the result's gradient, and the pixel of the source that one place of the window met it with.
struct Meeting {
  const float *src, *dst_grad;
};

// sums(r, v) = sum over the meetings of dst_grad[r] * src[v]
PACKHORSE_CLONES("arch=x86-64-v3")
void multiply_meetings(const Meeting* meetings, size_t count, int64_t first_r, int64_t first_v, float* sums) {
  Lane low[kTall] = {}, high[kTall] = {};
  for (size_t i = 0; i < count; ++i) {
    const float *src = meetings[i].src + first_v, *dst_grad = meetings[i].dst_grad + first_r;
    const Lane first = *reinterpret_cast<const Lane*>(src), second = *reinterpret_cast<const Lane*>(src + kLane);
    for (int64_t r = 0; r < kTall; ++r) {
      low[r] += dst_grad[r] * first;
      high[r] += dst_grad[r] * second;
    }
  }
  for (int64_t r = 0; r < kTall; ++r) {
    std::memcpy(sums + r * kWide, &low[r], sizeof low[r]);
    std::memcpy(sums + r * kWide + kLane, &high[r], sizeof high[r]);
  }
}

// To the nearest of 11 bits, ties to even.
float to_tf32(float value) {
  if (!std::isfinite(value)) return value;
  const auto word = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((word + 0xfff + ((word >> 13) & 1)) & ~0x1fffu);
}

template <typename T>
void widen(const void* from, std::vector<float>& to, int64_t count) {
  const T* numbers = static_cast<const T*>(from);
  for (int64_t i = 0; i < count; ++i) to[static_cast<size_t>(i)] = static_cast<float>(numbers[i]);
}

// Rounds, and keeps what the rounded numbers are.
template <typename T>
void narrow(std::vector<float>& from, void* to, int64_t count) {
  T* numbers = static_cast<T*>(to);
  for (int64_t i = 0; i < count; ++i) {
    numbers[i] = T(from[static_cast<size_t>(i)]);
    from[static_cast<size_t>(i)] = static_cast<float>(numbers[i]);
  }
}

class Runner {
 public:
  Runner(const OperationGraph& graph, const std::map<int64_t, void*>& addresses, bool rounds_to_tf32)
      : graph_(graph), addresses_(addresses), rounds_to_tf32_(rounds_to_tf32), values_(graph.tensors.size()) {}

  void run(const GraphOperation& operation) {
    for (const int number : operation.reads) load(number);
    for (const int number : operation.writes)
      values_[static_cast<size_t>(number)].assign(static_cast<size_t>(shape(number).count() + kWide), 0);
    switch (operation.step) {
      case GraphStep::forward:
        forward(operation);
        break;
      case GraphStep::data_gradient:
        data_gradient(operation);
        break;
      case GraphStep::weight_gradient:
        weight_gradient(operation);
        break;
      case GraphStep::pointwise:
        pointwise(operation);
        break;
      case GraphStep::statistics:
        statistics(operation);
        break;
      case GraphStep::batch_norm_reductions:
        batch_norm_reductions(operation);
        break;
    }
    for (const int number : operation.writes) store(number);
  }

 private:
  const Shape& shape(int number) const { return graph_.tensor(number).shape; }
  std::vector<float>& values(int number) { return values_[static_cast<size_t>(number)]; }

  void load(int number) {
    const GraphTensor& tensor = graph_.tensor(number);
    std::vector<float>& into = values(number);
    if (!into.empty()) return;
    const int64_t count = tensor.shape.count();
    into.resize(static_cast<size_t>(count + kWide));
    const void* from = addresses_.at(tensor.uid);
    if (tensor.dtype == Dtype::f16)
      widen<F16>(from, into, count);
    else if (tensor.dtype == Dtype::bf16)
      widen<Bf16>(from, into, count);
    else
      widen<float>(from, into, count);
  }
  void store(int number) {
    const GraphTensor& tensor = graph_.tensor(number);
    if (tensor.is_virtual) return;
    void* to = addresses_.at(tensor.uid);
    const int64_t count = tensor.shape.count();
    if (tensor.dtype == Dtype::f16)
      narrow<F16>(values(number), to, count);
    else if (tensor.dtype == Dtype::bf16)
      narrow<Bf16>(values(number), to, count);
    else
      narrow<float>(values(number), to, count);
  }
  // An operand of products.
  std::vector<float> factors(int number) {
    std::vector<float> factors = values(number);
    if (rounds_to_tf32_) std::transform(factors.begin(), factors.end(), factors.begin(), to_tf32);
    return factors;
  }

  // Weights (O, K, K, C) in the order in which the blocks of a product want them: (blocks of columns, K, K, rows,
  // kWide), zeros beyond the last column. Columns are O in the forward pass, C for the data gradient.
  static std::vector<float> packed(const std::vector<float>& weights, const Shape& w, bool columns_are_o) {
    const int64_t columns = columns_are_o ? w.n : w.c, depth = columns_are_o ? w.c : w.n, places = w.h * w.w;
    const int64_t blocks = (columns + kWide - 1) / kWide;
    std::vector<float> packed(static_cast<size_t>(blocks * places * depth * kWide));
    for (int64_t o = 0; o < w.n; ++o)
      for (int64_t place = 0; place < places; ++place)
        for (int64_t c = 0; c < w.c; ++c) {
          const int64_t column = columns_are_o ? o : c, row = columns_are_o ? c : o;
          packed[static_cast<size_t>((((column / kWide) * places + place) * depth + row) * kWide + column % kWide)] =
              weights[static_cast<size_t>((o * places + place) * w.c + c)];
        }
    return packed;
  }

  // Each pixel of `results` is the sum over the places of the window of rows * weights; row_of(n, y, x, i, j) is the
  // row of `depth` numbers there, or null.
  template <typename RowOf>
  static void multiply(const Shape& results, int64_t kernel, int64_t depth, const std::vector<float>& weights,
                       const RowOf& row_of, std::vector<float>& into) {
    const int64_t places = kernel * kernel, pixels = results.pixels();
    std::vector<const float*> rows(static_cast<size_t>(places * kTall));
    float sums[kTall * kWide];
    for (int64_t first = 0; first < pixels; first += kTall) {
      const int64_t tall = std::min(kTall, pixels - first);
      for (int64_t r = 0; r < kTall; ++r) {
        const int64_t pixel = first + r, x = pixel % results.w, y = pixel / results.w % results.h,
                      n = pixel / (results.w * results.h);
        for (int64_t i = 0; i < kernel; ++i)
          for (int64_t j = 0; j < kernel; ++j)
            rows[static_cast<size_t>((i * kernel + j) * kTall + r)] = r < tall ? row_of(n, y, x, i, j) : nullptr;
      }
      for (int64_t block = 0; block * kWide < results.c; ++block) {
        multiply_rows(rows.data(), places, depth, &weights[static_cast<size_t>(block * places * depth * kWide)], sums);
        const int64_t wide = std::min(kWide, results.c - block * kWide);
        for (int64_t r = 0; r < tall; ++r)
          std::copy_n(sums + r * kWide, wide, &into[static_cast<size_t>((first + r) * results.c + block * kWide)]);
      }
    }
  }

  void forward(const GraphOperation& operation) {
    const int x = operation.reads[0], w = operation.reads[1], y = operation.writes[0];
    const std::vector<float> src = factors(x), weights = packed(factors(w), shape(w), true);
    const Shape& from = shape(x);
    multiply(
        shape(y), operation.kernel, from.c, weights,
        [&](int64_t n, int64_t row, int64_t column, int64_t i, int64_t j) -> const float* {
          const int64_t h = row * operation.stride + i - operation.pad,
                        v = column * operation.stride + j - operation.pad;
          if (h < 0 || v < 0 || h >= from.h || v >= from.w) return nullptr;
          return &src[static_cast<size_t>(((n * from.h + h) * from.w + v) * from.c)];
        },
        values(y));
  }

  void data_gradient(const GraphOperation& operation) {
    const int dy = operation.reads[0], w = operation.reads[1], dx = operation.writes[0];
    const std::vector<float> dst_grad = factors(dy), weights = packed(factors(w), shape(w), false);
    const Shape& from = shape(dy);
    multiply(
        shape(dx), operation.kernel, from.c, weights,
        [&](int64_t n, int64_t row, int64_t column, int64_t i, int64_t j) -> const float* {
          const int64_t h = row + operation.pad - i, v = column + operation.pad - j;
          if (h < 0 || v < 0 || h % operation.stride != 0 || v % operation.stride != 0) return nullptr;
          const int64_t at_h = h / operation.stride, at_v = v / operation.stride;
          if (at_h >= from.h || at_v >= from.w) return nullptr;
          return &dst_grad[static_cast<size_t>(((n * from.h + at_h) * from.w + at_v) * from.c)];
        },
        values(dx));
    if (operation.beta == 0) return;
    std::vector<float> product = std::move(values(dx));
    values(dx).clear();
    load(dx);
    for (size_t i = 0; i < product.size(); ++i) values(dx)[i] += product[i];
  }

  void weight_gradient(const GraphOperation& operation) {
    const int x = operation.reads[0], dy = operation.reads[1], dw = operation.writes[0];
    const std::vector<float> src = factors(x), dst_grad = factors(dy);
    const Shape &from = shape(x), &to = shape(dy), &w = shape(dw);
    std::vector<float>& into = values(dw);
    std::vector<Meeting> meetings;
    float sums[kTall * kWide];
    for (int64_t i = 0; i < operation.kernel; ++i)
      for (int64_t j = 0; j < operation.kernel; ++j) {
        meetings.clear();
        for (int64_t pixel = 0; pixel < to.pixels(); ++pixel) {
          const int64_t h = pixel / to.w % to.h * operation.stride + i - operation.pad,
                        v = pixel % to.w * operation.stride + j - operation.pad, n = pixel / (to.w * to.h);
          if (h < 0 || v < 0 || h >= from.h || v >= from.w) continue;
          meetings.push_back({&src[static_cast<size_t>(((n * from.h + h) * from.w + v) * from.c)],
                              &dst_grad[static_cast<size_t>(pixel * to.c)]});
        }
        // As many at once as the cache holds beside the sums.
        for (size_t first = 0; first < meetings.size(); first += kMeetings)
          for (int64_t o = 0; o < w.n; o += kTall)
            for (int64_t c = 0; c < w.c; c += kWide) {
              multiply_meetings(&meetings[first], std::min(kMeetings, meetings.size() - first), o, c, sums);
              for (int64_t r = 0; r < std::min(kTall, w.n - o); ++r)
                for (int64_t v = 0; v < std::min(kWide, w.c - c); ++v)
                  into[static_cast<size_t>((((o + r) * operation.kernel + i) * operation.kernel + j) * w.c + c + v)] +=
                      sums[r * kWide + v];
            }
      }
  }

  void pointwise(const GraphOperation& operation) {
    const auto count = static_cast<size_t>(shape(operation.writes[0]).count());
    std::vector<float>& y = values(operation.writes[0]);
    const auto stretched = [&](int number) {
      return [&numbers = values(number), length = static_cast<size_t>(shape(number).count())](size_t i) {
        return numbers[i % length];
      };
    };
    const auto x = stretched(operation.reads[0]), b = stretched(operation.reads.back());
    for (size_t i = 0; i < count; ++i) switch (operation.mode) {
        case CUDNN_POINTWISE_ADD:
          y[i] = x(i) + b(i);
          break;
        case CUDNN_POINTWISE_SUB:
          y[i] = x(i) - b(i);
          break;
        case CUDNN_POINTWISE_MUL:
          y[i] = x(i) * b(i);
          break;
        case CUDNN_POINTWISE_RELU_FWD:
          y[i] = x(i) < 0 ? 0 : x(i);  // a NaN passes
          break;
        default:  // the gradient of a ReLU
          y[i] = x(i) > 0 ? b(i) : 0;
      }
  }

  // In f32, pixel after pixel, the totals of images apart: as exact as one can expect of a GPU.
  template <typename Terms>
  void reduce(const Shape& over, int first, int second, const Terms& terms) {
    std::vector<float>&one = values(first), &other = values(second);
    std::vector<float> image_one(static_cast<size_t>(over.c)), image_other(static_cast<size_t>(over.c));
    for (int64_t n = 0; n < over.n; ++n) {
      std::fill(image_one.begin(), image_one.end(), 0.0f);
      std::fill(image_other.begin(), image_other.end(), 0.0f);
      for (int64_t pixel = 0; pixel < over.h * over.w; ++pixel)
        for (int64_t c = 0; c < over.c; ++c)
          terms(static_cast<size_t>((n * over.h * over.w + pixel) * over.c + c), static_cast<size_t>(c),
                image_one[static_cast<size_t>(c)], image_other[static_cast<size_t>(c)]);
      for (size_t c = 0; c < image_one.size(); ++c) {
        one[c] += image_one[c];
        other[c] += image_other[c];
      }
    }
  }

  void statistics(const GraphOperation& operation) {
    const std::vector<float>& x = values(operation.reads[0]);
    reduce(shape(operation.reads[0]), operation.writes[0], operation.writes[1],
           [&](size_t i, size_t, float& sum, float& squares) {
             sum += x[i];
             squares += x[i] * x[i];
           });
  }

  // The gradient of the batch norm's scale and shift. The three results that pass on are the coefficients of the
  // gradient's way through the statistics; nobody may read them here: they stay NaN.
  void batch_norm_reductions(const GraphOperation& operation) {
    const std::vector<float>&x = values(operation.reads[0]), &dy = values(operation.reads[1]),
          &mean = values(operation.reads[2]), &inverse = values(operation.reads[3]);
    reduce(shape(operation.reads[0]), operation.writes[0], operation.writes[1],
           [&](size_t i, size_t c, float& scale_grad, float& shift_grad) {
             scale_grad += dy[i] * ((x[i] - mean[c]) * inverse[c]);
             shift_grad += dy[i];
           });
    for (size_t i = 2; i < operation.writes.size(); ++i)
      std::fill(values(operation.writes[i]).begin(), values(operation.writes[i]).end(), std::nanf(""));
  }

  const OperationGraph& graph_;
  const std::map<int64_t, void*>& addresses_;
  const bool rounds_to_tf32_;
  std::vector<std::vector<float>> values_;  // of each tensor; empty: not yet there
};

}  // namespace

void run(const OperationGraph& graph, const std::map<int64_t, void*>& addresses, bool rounds_to_tf32) {
  Runner runner(graph, addresses, rounds_to_tf32);
  for (const GraphOperation& operation : graph.operations) runner.run(operation);
}

}  // namespace packhorse::standin
