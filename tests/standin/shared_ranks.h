// Memory that the ranks of a communicator share: who is there, and a slot of bytes for each rank's part of what they do
// now. Processes find it by the communicator's name; once all have it, the name is gone, and nothing is left behind.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace packhorse::standin {

inline constexpr int kMostRanks = 16;
/// So many bytes of each rank at a time.
inline constexpr size_t kChunk = size_t{1} << 20;

/// What a rank calls, for the others to compare. All zero: nothing yet.
struct Collective {
  int kind, type, operation, root;
  uint64_t count;
  bool operator==(const Collective&) const = default;
};

class SharedRanks {
 public:
  /// Joins without waiting. Aborts if the memory cannot be had.
  SharedRanks(const std::string& name, int ranks, int rank, const std::string& device);
  ~SharedRanks();
  SharedRanks(const SharedRanks&) = delete;
  SharedRanks& operator=(const SharedRanks&) = delete;

  int ranks() const { return ranks_; }
  int rank() const { return rank_; }

  /// Waits for the others: empty if all came, else what is wrong.
  std::string wait_for_all(std::chrono::seconds timeout);

  /// Every rank goes through the same chunks. It may write its part of the next one when all have read the last one.
  bool may_write(uint64_t chunk) const;
  std::byte* mine() const { return bytes_of(rank_); }
  void wrote(uint64_t chunk, const Collective& call);
  /// Whether all have written.
  bool may_read(uint64_t chunk) const;
  const std::byte* bytes_of_rank(int rank) const { return bytes_of(rank); }
  Collective call_of(int rank) const;
  void read(uint64_t chunk);
  /// The first rank that has not written the chunk.
  int missing(uint64_t chunk) const;

 private:
  struct Slot {
    std::atomic<uint32_t> joined;
    std::atomic<uint64_t> written, read;  // so many chunks
    Collective call;
    std::array<char, 128> device;
  };
  struct Region {
    std::array<Slot, kMostRanks> slots;
  };
  std::byte* bytes_of(int rank) const;
  static size_t region_bytes(int ranks);

  std::string name_;
  int ranks_, rank_;
  Region* region_ = nullptr;
};

}  // namespace packhorse::standin
