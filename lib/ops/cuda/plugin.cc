// The plug-in's entry.
#include "ops/plugin.h"

#include "device/cuda/cuda_device.h"
#include "device/cuda/nccl_allreduce.h"
#include "ops/cuda/backend.h"

extern "C" [[gnu::visibility("default")]] const packhorse::BackendPlugin* packhorse_backend() {
  static const packhorse::BackendPlugin plugin = {PACKHORSE_BUILD_ID,       packhorse::cuda::missing,
                                                  packhorse::cuda::types,   packhorse::cuda::make_backend,
                                                  packhorse::cuda::nccl_id, packhorse::cuda::make_allreduce};
  return &plugin;
}
