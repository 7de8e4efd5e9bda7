#include "standin/shared_ranks.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "standin/standin.h"

namespace packhorse::standin {
namespace {

constexpr size_t kPage = 4096;
constexpr std::chrono::milliseconds kPause{1};

}  // namespace

size_t SharedRanks::region_bytes(int ranks) {
  return (sizeof(Region) + kPage - 1) / kPage * kPage + static_cast<size_t>(ranks) * kChunk;
}

std::byte* SharedRanks::bytes_of(int rank) const {
  return reinterpret_cast<std::byte*>(region_) + region_bytes(0) + static_cast<size_t>(rank) * kChunk;
}

SharedRanks::SharedRanks(const std::string& name, int ranks, int rank, const std::string& device)
    : name_(name), ranks_(ranks), rank_(rank) {
  // Fresh memory is all zero, and that means that nobody is there: whoever comes first has nothing to prepare.
  const int file = shm_open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
  const size_t bytes = region_bytes(ranks);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) {
    abort_with("no shared memory for a communicator: " + std::string(std::strerror(errno)));
  }
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) abort_with("no shared memory for a communicator: " + std::string(std::strerror(errno)));
  region_ = static_cast<Region*>(mapped);
  Slot& slot = region_->slots[static_cast<size_t>(rank)];
  std::snprintf(slot.device.data(), slot.device.size(), "%s", device.c_str());
  slot.joined.store(1, std::memory_order_release);
}

SharedRanks::~SharedRanks() { munmap(region_, region_bytes(ranks_)); }

std::string SharedRanks::wait_for_all(std::chrono::seconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  for (int rank = 0; rank < ranks_; ++rank) {
    while (region_->slots[static_cast<size_t>(rank)].joined.load(std::memory_order_acquire) == 0) {
      if (std::chrono::steady_clock::now() > end) {
        shm_unlink(name_.c_str());
        return "rank " + std::to_string(rank) + " of " + std::to_string(ranks_) + " has not come";
      }
      std::this_thread::sleep_for(kPause);
    }
  }
  // Nobody has to find the memory any more.
  if (rank_ == 0) shm_unlink(name_.c_str());
  for (int one = 0; one < ranks_; ++one)
    for (int other = 0; other < one; ++other) {
      const auto& device = region_->slots[static_cast<size_t>(one)].device;
      if (device != region_->slots[static_cast<size_t>(other)].device) continue;
      return "ranks " + std::to_string(other) + " and " + std::to_string(one) + " are both on device " + device.data();
    }
  return {};
}

bool SharedRanks::may_write(uint64_t chunk) const {
  return std::all_of(region_->slots.begin(), region_->slots.begin() + ranks_,
                     [&](const Slot& slot) { return slot.read.load(std::memory_order_acquire) >= chunk; });
}

void SharedRanks::wrote(uint64_t chunk, const Collective& call) {
  Slot& slot = region_->slots[static_cast<size_t>(rank_)];
  slot.call = call;
  slot.written.store(chunk + 1, std::memory_order_release);
}

bool SharedRanks::may_read(uint64_t chunk) const { return missing(chunk) == ranks_; }

int SharedRanks::missing(uint64_t chunk) const {
  const auto end = region_->slots.begin() + ranks_;
  const auto found = std::find_if(region_->slots.begin(), end, [&](const Slot& slot) {
    return slot.written.load(std::memory_order_acquire) <= chunk;
  });
  return static_cast<int>(found - region_->slots.begin());
}

Collective SharedRanks::call_of(int rank) const { return region_->slots[static_cast<size_t>(rank)].call; }

void SharedRanks::read(uint64_t chunk) {
  region_->slots[static_cast<size_t>(rank_)].read.store(chunk + 1, std::memory_order_release);
}

}  // namespace packhorse::standin
