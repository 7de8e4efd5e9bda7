#include "device/cuda/nccl_allreduce.h"

#include <nccl.h>

#include <cstring>

#include <fmt/core.h>

#include "base/error.h"
#include "device/cuda/cuda_device.h"

namespace packhorse::cuda {

namespace {

void check_nccl(ncclResult_t result, ncclComm_t comm, const char* call) {
  if (result == ncclSuccess) return;
  throw Error({fmt::format("NCCL reports {}: {}", ncclGetErrorString(result), ncclGetLastError(comm)), call,
               "start one rank for each GPU; NCCL_DEBUG=INFO says more"});
}

class NcclAllreduce : public Allreduce {
 public:
  NcclAllreduce(Device& device, const std::string& id, int rank, int ranks)
      : ranks_(ranks), stream_(device.make_stream(true)) {
    ncclUniqueId unique{};
    if (id.size() != sizeof(unique)) throw Error({"the id of the sums over ranks is damaged", device.name(), ""});
    std::memcpy(&unique, id.data(), sizeof(unique));
    check_nccl(ncclCommInitRank(&comm_, ranks, unique, rank), nullptr, "ncclCommInitRank");
  }
  ~NcclAllreduce() override { ncclCommDestroy(comm_); }
  NcclAllreduce(const NcclAllreduce&) = delete;
  NcclAllreduce& operator=(const NcclAllreduce&) = delete;

  int ranks() const override { return ranks_; }
  Stream& stream() override { return *stream_; }
  bool repeats() const override { return true; }
  void enqueue(DeviceAddress values, int64_t count) override {
    check_nccl(ncclAllReduce(values.as<void>(), values.as<void>(), static_cast<size_t>(count), ncclFloat32, ncclSum,
                             comm_, stream_of(*stream_)),
               comm_, "ncclAllReduce");
  }

 private:
  int ranks_;
  std::unique_ptr<Stream> stream_;
  ncclComm_t comm_ = nullptr;
};

}  // namespace

std::string nccl_id() {
  ncclUniqueId unique{};
  check_nccl(ncclGetUniqueId(&unique), nullptr, "ncclGetUniqueId");
  return {unique.internal, sizeof(unique)};
}

std::unique_ptr<Allreduce> make_allreduce(Device& device, const std::string& id, int rank, int ranks) {
  return std::make_unique<NcclAllreduce>(device, id, rank, ranks);
}

}  // namespace packhorse::cuda
