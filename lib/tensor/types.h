// What describes a tensor, without its memory: element type, shape, and the stride between pixels.
//
// Letters, used everywhere: N images of the batch, H rows, W columns, C input channels, O output channels, K kernel
// side. Activations are channels last, (N, H, W, C); parameters are f32 in (O, C, K, K), as in PyTorch and ONNX.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

namespace packhorse {

/// Activations are f32, bf16 or f16; f64, i32 and u8 are for sums, labels and places.
enum class Dtype { f32, bf16, f64, i32, u8, f16 };

constexpr size_t size_of(Dtype dtype) {
  constexpr size_t kSizes[] = {4, 2, 8, 4, 1, 2};
  return kSizes[static_cast<size_t>(dtype)];
}
inline std::string name_of(Dtype dtype) {
  constexpr const char* kNames[] = {"f32", "bf16", "f64", "i32", "u8", "f16"};
  return kNames[static_cast<size_t>(dtype)];
}

/// The upper half of an f32; rounds to nearest, ties to even; NaN stays NaN.
struct Bf16 {
  uint16_t bits = 0;
  Bf16() = default;
  explicit Bf16(float value) {
    const auto word = std::bit_cast<uint32_t>(value);
    const bool nan = (word & 0x7fffffff) > 0x7f800000;
    bits = static_cast<uint16_t>(nan ? (word >> 16) | 0x40 : (word + 0x7fff + ((word >> 16) & 1)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

/// IEEE's half precision; rounds to nearest, ties to even: infinite from 65520 on; NaN stays NaN.
struct F16 {
  uint16_t bits = 0;
  F16() = default;
  explicit F16(float value) {
    const auto word = std::bit_cast<uint32_t>(value), size = word & 0x7fffffff;
    bits = static_cast<uint16_t>(((word >> 16) & 0x8000) | magnitude(size));
  }
  explicit operator float() const {
    const uint32_t sign = (bits & 0x8000u) << 16, size = bits & 0x7fffu;
    if (size >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (size << 13));
    if (size >= 0x0400) return std::bit_cast<float>(sign | ((size << 13) + kExponents));
    return (sign != 0 ? -0x1p-24f : 0x1p-24f) * static_cast<float>(size);
  }

 private:
  static constexpr uint32_t kExponents = (127 - 15) << 23;  // f32's bias is greater
  static uint32_t magnitude(uint32_t size) {
    if (size > 0x7f800000) return 0x7e00 | (size >> 13 & 0x3ff);
    if (size >= std::bit_cast<uint32_t>(65520.0f)) return 0x7c00;
    // Below 2^-14 the spacing is that of f32 just above a half, so an addition rounds.
    if (size < std::bit_cast<uint32_t>(0x1p-14f))
      return std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    return (size - kExponents + 0xfff + ((size >> 13) & 1)) >> 13;
  }
};

/// Shape of an activation, (N, H, W, C). An array without pixels is (1, 1, 1, length).
struct Shape {
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t pixels() const { return n * h * w; }
  int64_t count() const { return n * h * w * c; }
  bool operator==(const Shape&) const = default;
};

/// An activation in memory, or a range of the channels of a wider one: pixel (n, y, x) begins at
/// data + ((n * h + y) * w + x) * pixel_stride elements.
struct View {
  void* data = nullptr;
  Shape shape;
  int64_t pixel_stride = 0;  ///< elements from one pixel to the next, >= shape.c
  Dtype dtype = Dtype::f32;
  bool dense() const { return pixel_stride == shape.c; }
};

}  // namespace packhorse
