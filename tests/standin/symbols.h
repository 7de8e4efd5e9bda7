// What an object file in this process calls its functions: the kernels' mangled names, and which variables in shared
// memory belong to which kernel. Read from the file's symbol table, so that no kernel has to be exported: an exported
// one would take the place of the function of the same name with which a plug-in launches it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace packhorse::standin {

/// A thread_local variable within a function: shared memory (cuda_on_host.h).
struct SharedVariable {
  std::string name;  ///< mangled
  size_t offset, bytes;
};

class Symbols {
 public:
  /// Of the object that holds the address. It stays for good.
  static const Symbols& of(const void* address);

  /// The mangled name of the function there.
  std::string name_of(const void* function) const;
  const std::vector<SharedVariable>& shared() const { return shared_; }
  /// Where the variable lies for this OS thread.
  std::byte* address_of(const SharedVariable& variable) const;

 private:
  Symbols(const std::string& path, uintptr_t base);

  std::string path_;
  uintptr_t base_;
  std::map<uintptr_t, std::string> functions_;
  std::vector<SharedVariable> shared_;
  size_t module_ = 0;  ///< of its thread_local variables
};

}  // namespace packhorse::standin
