// What the tests of operations share: the backends and dtypes that each test runs on, tensors with gaps between pixels,
// and the rounding error of each dtype.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"
#include "ops/backends.h"
#include "ops/ops.h"

namespace packhorse {

struct BackendCase {
  std::string backend;
  Dtype dtype = Dtype::f32;
};

inline std::ostream& operator<<(std::ostream& out, const BackendCase& c) {
  return out << c.backend << "_" << name_of(c.dtype);
}

/// Every backend with every dtype that it can compute in on this machine.
inline std::vector<BackendCase> backend_cases() {
  std::vector<BackendCase> cases;
  for (const std::string& backend : backend_names())
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      try {
        make_backend(backend, dtype, 1, true);
        cases.push_back({backend, dtype});
      } catch (const Error&) {  // the test Backends.RefuseWhatTheyCannotCompute covers this
      }
    }
  return cases;
}

inline std::string case_name(const testing::TestParamInfo<BackendCase>& info) {
  return info.param.backend + "_" + name_of(info.param.dtype);
}

/// The largest relative rounding error: half the distance between neighbouring numbers at 1.
inline double rounding(Dtype dtype) { return dtype == Dtype::f32 ? 0x1p-24 : 0x1p-8; }

/// A tensor in a buffer of its own, in which `gap` unused channels follow each pixel.
class Field {
 public:
  Field(Shape shape, Dtype dtype, int64_t gap = 0)
      : bytes_(static_cast<size_t>(shape.pixels() * (shape.c + gap)) * size_of(dtype), std::byte{0x7b}),
        view_{bytes_.data(), shape, shape.c + gap, dtype} {}
  Field(const Field&) = delete;
  Field& operator=(const Field&) = delete;

  const View& view() const { return view_; }
  int64_t count() const { return view_.shape.count(); }
  double get(int64_t i) const {
    const int64_t place = i / view_.shape.c * view_.pixel_stride + i % view_.shape.c;
    return view_.dtype == Dtype::f32 ? static_cast<const float*>(view_.data)[place]
                                     : static_cast<float>(static_cast<const Bf16*>(view_.data)[place]);
  }
  void set(int64_t i, float value) {
    const int64_t place = i / view_.shape.c * view_.pixel_stride + i % view_.shape.c;
    if (view_.dtype == Dtype::f32)
      static_cast<float*>(view_.data)[place] = value;
    else
      static_cast<Bf16*>(view_.data)[place] = Bf16(value);
  }
  template <typename Function>
  void fill(const Function& value) {
    for (int64_t i = 0; i < count(); ++i) set(i, value(i));
  }
  /// True if nobody wrote between the pixels.
  bool gaps_untouched() const {
    const auto size = static_cast<int64_t>(size_of(view_.dtype));
    for (int64_t p = 0; p < view_.shape.pixels(); ++p)
      for (int64_t b = (p * view_.pixel_stride + view_.shape.c) * size; b < (p + 1) * view_.pixel_stride * size; ++b)
        if (bytes_[static_cast<size_t>(b)] != std::byte{0x7b}) return false;
    return true;
  }

 private:
  std::vector<std::byte> bytes_;
  View view_;
};

/// Random numbers that bf16 represents exactly, so that every backend starts from the same values.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : random_(seed, RandomUse::test, 0, 0) {}
  float next(float low = -1, float high = 1) { return static_cast<float>(Bf16(random_.uniform(low, high))); }
  void fill(Field& field, float low = -1, float high = 1) {
    field.fill([&](int64_t) { return next(low, high); });
  }
  std::vector<float> vector(int64_t count, float low = -1, float high = 1) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = next(low, high);
    return values;
  }

 private:
  RandomStream random_;
};

inline void copy(const Field& from, Field& to) {
  to.fill([&](int64_t i) { return static_cast<float>(from.get(i)); });
}

/// Makes the operations of one backend and gives them their scratch memory.
class Bench {
 public:
  Bench(const std::string& backend, Dtype dtype, int threads = 2)
      : backend_(make_backend(backend, dtype, threads, true)) {}
  explicit Bench(const BackendCase& c) : Bench(c.backend, c.dtype) {}
  template <typename Task>
  auto make(const Task& task) {
    auto operation = backend_->make(task);
    backend_->ready();
    backend_->enter();
    return operation;
  }

 private:
  std::unique_ptr<Backend> backend_;
};

}  // namespace packhorse
