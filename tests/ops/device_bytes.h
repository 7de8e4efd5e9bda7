// Device memory as tests look at it: whole copies, through a stream.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "device/device.h"

namespace packhorse {

inline std::vector<std::byte> read_bytes(Stream& stream, DeviceAddress from, size_t count) {
  std::vector<std::byte> bytes(count);
  stream.read(bytes, from);
  stream.synchronize();
  return bytes;
}

inline void write_bytes(Stream& stream, DeviceAddress to, std::span<const std::byte> bytes) {
  stream.write(to, bytes);
  stream.synchronize();
}

inline void fill_bytes(Stream& stream, DeviceAddress to, size_t count, std::byte value) {
  write_bytes(stream, to, std::vector<std::byte>(count, value));
}

inline std::vector<float> read_floats(Stream& stream, DeviceAddress from, size_t bytes) {
  const std::vector<std::byte> copy = read_bytes(stream, from, bytes);
  std::vector<float> floats(bytes / sizeof(float));
  std::memcpy(floats.data(), copy.data(), bytes);
  return floats;
}

}  // namespace packhorse
