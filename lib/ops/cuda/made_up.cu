#include "ops/cuda/launch.h"
#include "ops/cuda/made_up.cuh"
#include "ops/cuda/passes.h"

namespace packhorse::cuda {

void fill_made_up(Dtype dtype, void* to, int64_t count, unsigned seed, cudaStream_t stream) {
  with_form(dtype, false, [&](auto form) {
    using T = typename decltype(form)::type;
    made_up<T><<<few_blocks_for(count), kThreads, 0, stream>>>(static_cast<T*>(to), count, seed);
  });
  launched("made_up");
}

unsigned checksums(const void* values, int64_t bytes, uint64_t* sums, cudaStream_t stream) {
  constexpr int64_t kWordsOfThread = 16;
  const unsigned blocks = std::min(blocks_for(bytes / 2 / kWordsOfThread + 1), kMostChecksums);
  checksum<<<blocks, kChecksumThreads, 0, stream>>>(static_cast<const uint16_t*>(values), bytes / 2, sums);
  launched("checksum");
  return blocks;
}

}  // namespace packhorse::cuda
