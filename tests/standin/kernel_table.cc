#include "standin/kernel_table.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "standin/fibres.h"
#include "standin/standin.h"

namespace packhorse::standin {
namespace {

constexpr std::byte kPoison{0xff};
/// So many bytes behind the dynamic shared memory are looked at.
constexpr size_t kBehind = 256;
constexpr std::byte kCanary{0xa5};

struct Table {
  std::mutex mutex;
  std::vector<std::unique_ptr<Kernel>> unnamed;  // registered, not yet asked for
  std::map<std::string, std::unique_ptr<Kernel>> named;
  std::map<const void*, DynamicShared> dynamic;  // by the object's place
};

Table& table() {
  static auto* it = new Table;
  return *it;
}

const void* object_of(const void* address) {
  Dl_info info{};
  return dladdr(address, &info) == 0 ? nullptr : info.dli_fbase;
}

/// Registers and bytes of shared memory of each kernel as ptxas said them: "NAME REGISTERS SHARED" a line.
unsigned registers_of(const std::string& mangled) {
  const char* path = std::getenv("PACKHORSE_STANDIN_RESOURCES");
  if (path == nullptr) return 0;
  std::ifstream file(path);
  std::string name;
  unsigned registers = 0;
  size_t shared = 0;
  while (file >> name >> registers >> shared)
    if (name == mangled) return registers;
  return 0;
}

/// Whether the variable is one of the function's: _ZZ 3foov E 4part is `part` of _Z 3foov.
bool belongs(const SharedVariable& variable, const std::string& function) {
  return variable.name.starts_with("_ZZ" + function.substr(2) + "E");
}

/// Names what was registered since, then says which variables in shared memory are whose.
void name_all(Table& t) {
  if (t.unnamed.empty()) return;
  for (auto& kernel : std::exchange(t.unnamed, {})) {
    kernel->symbols = &Symbols::of(kernel->function);
    kernel->name = kernel->symbols->name_of(kernel->function);
    kernel->demangled = demangle(kernel->name);
    kernel->registers = registers_of(kernel->name);
    if (t.named.contains(kernel->name)) abort_with("kernel " + kernel->demangled + " is registered twice");
    t.named.emplace(kernel->name, std::move(kernel));
  }
  for (auto& entry : t.named) {
    Kernel& kernel = *entry.second;
    const auto dynamic = t.dynamic.find(object_of(kernel.function));
    if (dynamic != t.dynamic.end()) kernel.dynamic = dynamic->second;
    kernel.shared.clear();
    kernel.shared_bytes = 0;
    for (const SharedVariable& variable : kernel.symbols->shared()) {
      const bool own = belongs(variable, kernel.name);
      // A variable of no kernel belongs to a function that any kernel may call.
      const bool others = !own && std::ranges::any_of(t.named, [&](const auto& other) {
        return other.second->symbols == kernel.symbols && belongs(variable, other.first);
      });
      if (others) continue;
      kernel.shared.push_back(variable);
      if (own) kernel.shared_bytes += variable.bytes;
    }
  }
}

}  // namespace

void register_kernel(const void* function, KernelCall call, std::vector<Parameter> parameters) {
  Table& t = table();
  const std::lock_guard held(t.mutex);
  t.unnamed.push_back(std::make_unique<Kernel>(Kernel{function, call, std::move(parameters)}));
}

void register_dynamic_shared(std::byte* (*array)(), size_t bytes) {
  Table& t = table();
  const std::lock_guard held(t.mutex);
  t.dynamic[object_of(reinterpret_cast<const void*>(array))] = {array, bytes};
}

const Kernel* find_kernel(const std::string& mangled) {
  Table& t = table();
  const std::lock_guard held(t.mutex);
  name_all(t);
  const auto found = t.named.find(mangled);
  return found == t.named.end() ? nullptr : found->second.get();
}

void poison_shared(const Kernel& kernel, size_t dynamic) {
  for (const SharedVariable& variable : kernel.shared) {
    std::memset(kernel.symbols->address_of(variable), std::to_integer<int>(kPoison), variable.bytes);
  }
  if (kernel.dynamic.array == nullptr) {
    if (dynamic != 0) abort_with(kernel.demangled + ": no DEFINE_DYNAMIC_SHARED in the object that registers it");
    return;
  }
  std::byte* array = kernel.dynamic.array();
  std::memset(array, std::to_integer<int>(kPoison), dynamic);
  std::memset(array + dynamic, std::to_integer<int>(kCanary), std::min(kBehind, kernel.dynamic.bytes - dynamic));
}

void check_shared(const Kernel& kernel, size_t dynamic) {
  if (kernel.dynamic.array == nullptr) return;
  const std::byte* behind = kernel.dynamic.array() + dynamic;
  const bool whole = std::all_of(behind, behind + std::min(kBehind, kernel.dynamic.bytes - dynamic),
                                 [](std::byte byte) { return byte == kCanary; });
  if (!whole) abort_with(place() + ": wrote behind its " + std::to_string(dynamic) + " bytes of dynamic shared memory");
}

std::string demangle(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : mangled;
}

}  // namespace packhorse::standin
