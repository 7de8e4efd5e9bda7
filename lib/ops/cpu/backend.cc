#include "ops/cpu/backend.h"

#include <omp.h>

#include "base/error.h"
#include "ops/cpu/context.h"
#include "ops/cpu/primitive.h"

namespace packhorse::cpu {

namespace {

class CpuBackend : public Backend {
 public:
  CpuBackend(int threads, bool training) : context_(threads, training) { enter(); }

  std::string name() const override { return "cpu"; }
  // oneDNN reads the number of threads from the calling thread's OpenMP setting, both when it makes a primitive and
  // when it runs one.
  void enter() override {
    if (omp_get_max_threads() != context_.threads()) omp_set_num_threads(context_.threads());
  }
  std::unique_ptr<Operation> make(const ConvolutionTask& task) override { return guarded(task, task.name); }
  std::unique_ptr<Operation> make(const BatchNormTask& task) override { return cpu::make(context_, task); }
  std::unique_ptr<Operation> make(const AddTask& task) override { return cpu::make(context_, task); }
  std::unique_ptr<Operation> make(const PoolTask& task) override { return cpu::make(context_, task); }
  std::unique_ptr<Operation> make(const GlobalPoolTask& task) override { return cpu::make(context_, task); }
  std::unique_ptr<Operation> make(const FullyConnectedTask& task) override { return guarded(task, task.name); }
  std::unique_ptr<Loss> make(const LossTask& task) override { return cpu::make(context_, task); }
  std::unique_ptr<Input> make(const InputTask& task) override { return cpu::make(context_, task); }
  void ready() override { context_.give_scratch(); }
  uint64_t packed_bytes() const override { return context_.packed_bytes(); }
  uint64_t workspace_bytes() const override { return context_.scratch_bytes(); }

 private:
  template <typename Task>
  std::unique_ptr<Operation> guarded(const Task& task, const std::string& where) {
    try {
      return cpu::make(context_, task);
    } catch (const dnnl::error& error) {
      throw Error({std::string("oneDNN cannot compute this layer: ") + error.what(), where,
                   "use dtype f32, or the backend reference"});
    }
  }

  Context context_;
};

bool has_avx512() {
  const auto needed = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & needed) == needed;
}

}  // namespace

std::unique_ptr<Backend> make_backend(Dtype dtype, int threads, bool training) {
  if (dtype == Dtype::bf16 && !has_avx512())
    throw Error({"this CPU cannot compute in bf16: it has no AVX-512", "dtype bf16", "use dtype f32 on this machine"});
  return std::make_unique<CpuBackend>(threads, training);
}

}  // namespace packhorse::cpu
