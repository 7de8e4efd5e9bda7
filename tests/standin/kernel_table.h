// The table of kernels that can run: those of REGISTER_KERNEL (cuda_on_host.h), by their mangled names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "standin/symbols.h"

namespace packhorse::standin {

/// A parameter of a kernel.
struct Parameter {
  size_t bytes;
  bool pointer;
};

/// Calls the kernel for the current thread; `arguments` point to the parameters, as cudaLaunchKernel takes them.
using KernelCall = void (*)(void* const* arguments);

/// The array that an object's kernels know as `extern __shared__`.
struct DynamicShared {
  std::byte* (*array)() = nullptr;  ///< where the calling OS thread has it
  size_t bytes = 0;
};

/// A kernel as g++ compiled it.
struct Kernel {
  const void* function;
  KernelCall call;
  std::vector<Parameter> parameters;

  // Found when it is first asked for.
  std::string name{}, demangled{};
  const Symbols* symbols = nullptr;
  std::vector<SharedVariable> shared{};  ///< what it or a function that it may call has in shared memory
  size_t shared_bytes = 0;               ///< its own
  DynamicShared dynamic{};
  unsigned registers = 0;  ///< of a thread; 0 if nobody has said it
};

/// For REGISTER_KERNEL: before main, or when an object is opened.
void register_kernel(const void* function, KernelCall call, std::vector<Parameter> parameters);
/// For DEFINE_DYNAMIC_SHARED: one for each object.
void register_dynamic_shared(std::byte* (*array)(), size_t bytes);

/// The kernel, or null. It stays for good.
const Kernel* find_kernel(const std::string& mangled);

/// What a block finds in shared memory is poison: `dynamic` bytes, and all variables of the kernel.
void poison_shared(const Kernel& kernel, size_t dynamic);
/// Ends the process if the block wrote behind its dynamic shared memory.
void check_shared(const Kernel& kernel, size_t dynamic);

/// As c++filt prints it.
std::string demangle(const std::string& mangled);

}  // namespace packhorse::standin
