// A oneDNN primitive with its memory objects bound: running it creates and allocates nothing.
#pragma once

#include <utility>
#include <vector>

#include "ops/cpu/onednn.h"

namespace packhorse::cpu {

class Bound {
 public:
  using Argument = std::pair<int, dnnl::memory>;

  Bound() = default;
  Bound(dnnl::primitive primitive, std::vector<Argument> arguments)
      : primitive_(std::move(primitive)), stream_(cpu_engine()), memories_(std::move(arguments)) {
    for (const auto& [place, memory] : memories_) arguments_.push_back({place, memory.get()});
  }
  explicit operator bool() const { return static_cast<bool>(primitive_); }
  void run() const {
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data()),
        "oneDNN could not run a primitive");
  }

 private:
  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::vector<Argument> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

/// A memory object for what lies at `address`.
inline dnnl::memory memory_at(const dnnl::memory::desc& desc, const void* address) {
  return {desc, cpu_engine(), const_cast<void*>(address)};
}

inline Bound reorder(const dnnl::memory& from, const dnnl::memory& to) {
  return {dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}};
}

}  // namespace packhorse::cpu
