// A GPU as a device: its streams are CUDA's, and a program that repeats becomes a CUDA graph. Part of the plug-in.
//
// Rule: work that is enqueued calls CUDA at once, on the thread that enqueues it. What fails on the device later comes
// out of whoever synchronizes.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "device/device.h"

namespace packhorse::cuda {

/// Throws an Error that names CUDA's, the call and the device.
void check(cudaError_t result, const char* call);

/// Why no GPU can be used here: driver, device, version. Empty if one can.
std::string missing();
int device_count();

/// GPU `number` of those that CUDA shows to this process; it lives as long as the process. Throws an Error if there is
/// no such GPU.
Device& device(int number);

/// "NVIDIA H200".
const std::string& model_of(const Device& device);
/// Of a stream or an event that a device of this file made.
cudaStream_t stream_of(Stream& stream);

/// The work of one graph node should be worth its launch. What the kernels of a device are launched with depends on it.
struct Limits {
  int multiprocessors = 0;
  size_t shared_bytes = 0;  ///< of a block, if it asks for them
  size_t cache_bytes = 0;   ///< of the whole device
};
const Limits& limits_of(Device& device);

}  // namespace packhorse::cuda
