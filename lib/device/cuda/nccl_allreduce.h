// Sums over ranks that have a GPU each, by NCCL. Part of the plug-in.
#pragma once

#include <memory>
#include <string>

#include "device/allreduce.h"

namespace packhorse::cuda {

/// Bytes that rank 0 makes and all ranks need.
std::string nccl_id();
/// Every rank calls it with the same id, at the same time. Throws an Error with NCCL's reason: two ranks on one GPU,
/// for example. `device` must outlive it.
std::unique_ptr<Allreduce> make_allreduce(Device& device, const std::string& id, int rank, int ranks);

}  // namespace packhorse::cuda
