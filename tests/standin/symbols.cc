#include "standin/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <span>

#include "standin/standin.h"

/// The C library's own way to a thread_local variable.
struct ModuleOffset {
  unsigned long module, offset;
};
extern "C" void* __tls_get_addr(ModuleOffset* at);  // NOLINT(bugprone-reserved-identifier)

namespace packhorse::standin {
namespace {

/// The file's bytes; of the program itself, whatever name it was started with.
std::vector<char> read_object(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) file.open("/proc/self/exe", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A part of the file as an array, empty if it does not lie in it.
template <typename T>
std::span<const T> part(const std::vector<char>& file, size_t offset, size_t bytes) {
  if (offset > file.size() || bytes > file.size() - offset) return {};
  return {reinterpret_cast<const T*>(file.data() + offset), bytes / sizeof(T)};
}

/// The loader's number of the object, for its thread_local variables.
size_t module_at(uintptr_t base) {
  struct Search {
    uintptr_t base;
    size_t module;
  } search{base, 0};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t /*size*/, void* data) {
        auto* it = static_cast<Search*>(data);
        if (info->dlpi_addr == it->base) it->module = info->dlpi_tls_modid;
        return 0;
      },
      &search);
  return search.module;
}

}  // namespace

const Symbols& Symbols::of(const void* address) {
  static auto* known = new std::map<const void*, std::unique_ptr<Symbols>>;
  Dl_info info{};
  if (dladdr(address, &info) == 0) abort_with("an address that lies in no object file");
  std::unique_ptr<Symbols>& symbols = (*known)[info.dli_fbase];
  if (symbols == nullptr) {
    // The base is where the first page lies, but the loader counts from address 0 of the file: of a program that is
    // linked to a fixed place, these differ.
    const auto* header = static_cast<const ElfW(Ehdr)*>(info.dli_fbase);
    const uintptr_t base = header->e_type == ET_EXEC ? 0 : reinterpret_cast<uintptr_t>(info.dli_fbase);
    symbols.reset(new Symbols(info.dli_fname, base));
  }
  return *symbols;
}

Symbols::Symbols(const std::string& path, uintptr_t base) : path_(path), base_(base), module_(module_at(base)) {
  const std::vector<char> file = read_object(path);
  const auto header = part<ElfW(Ehdr)>(file, 0, sizeof(ElfW(Ehdr)));
  if (header.empty()) abort_with("cannot read " + path);
  const auto sections = part<ElfW(Shdr)>(file, header[0].e_shoff, size_t{header[0].e_shnum} * sizeof(ElfW(Shdr)));
  for (const auto& section : sections) {
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
    const auto& strings = sections[section.sh_link];
    const auto names = part<char>(file, strings.sh_offset, strings.sh_size);
    for (const auto& symbol : part<ElfW(Sym)>(file, section.sh_offset, section.sh_size)) {
      if (symbol.st_shndx == SHN_UNDEF || symbol.st_name >= names.size()) continue;
      const std::string name = &names[symbol.st_name];
      const int type = ELF64_ST_TYPE(symbol.st_info);
      if (type == STT_FUNC) functions_.emplace(symbol.st_value, name);
      if (type == STT_TLS && name.starts_with("_ZZ")) shared_.push_back({name, symbol.st_value, symbol.st_size});
    }
  }
}

std::string Symbols::name_of(const void* function) const {
  const auto found = functions_.find(reinterpret_cast<uintptr_t>(function) - base_);
  if (found == functions_.end()) abort_with(path_ + " has no symbol of a kernel: it must not be stripped");
  return found->second;
}

std::byte* Symbols::address_of(const SharedVariable& variable) const {
  ModuleOffset at{module_, variable.offset};
  return static_cast<std::byte*>(__tls_get_addr(&at));
}

}  // namespace packhorse::standin
