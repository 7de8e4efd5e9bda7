#include "ops/reference/backend.h"

#include <algorithm>

#include "base/error.h"

namespace packhorse::reference {

namespace {

class ReferenceBackend : public Backend {
 public:
  std::string name() const override { return "reference"; }
  std::unique_ptr<Operation> make(const ConvolutionTask& task) override { return reference::make(task); }
  std::unique_ptr<Operation> make(const BatchNormTask& task) override { return reference::make(task); }
  std::unique_ptr<Operation> make(const AddTask& task) override { return reference::make(task); }
  std::unique_ptr<Operation> make(const PoolTask& task) override { return reference::make(task); }
  std::unique_ptr<Operation> make(const GlobalPoolTask& task) override { return reference::make(task); }
  std::unique_ptr<Operation> make(const FullyConnectedTask& task) override { return reference::make(task); }
  std::unique_ptr<Loss> make(const LossTask& task) override { return reference::make(task); }
  std::unique_ptr<Input> make(const InputTask& task) override { return reference::make(task); }
};

}  // namespace

std::unique_ptr<Backend> make_backend(Dtype dtype, int /*threads*/, bool /*training*/) {
  if (dtype != Dtype::f32)
    throw Error(
        {"the reference backend computes in f32 only", "dtype " + name_of(dtype), "use dtype f32, or the backend cpu"});
  return std::make_unique<ReferenceBackend>();
}

void begin(const Gradient& gradient) {
  if (gradient.accumulate || gradient.view.data == nullptr) return;
  for (int64_t p = 0; p < gradient.view.shape.pixels(); ++p)
    std::fill_n(at(gradient.view, p), gradient.view.shape.c, 0.0f);
}

}  // namespace packhorse::reference
