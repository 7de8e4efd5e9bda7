#include "ops/plugin.h"

#include <dlfcn.h>

#include <filesystem>
#include <map>
#include <mutex>

namespace packhorse {

namespace {

std::filesystem::path plugin_path(const std::string& name) {
  std::error_code ignored;
  const auto executable = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return executable.parent_path().parent_path() / "lib" / "packhorse" / ("packhorse-" + name + ".so");
}

// "libcudnn.so.9: cannot open shared object file: No such file or directory" names a library that is not there.
std::string reason_of(const std::string& message) {
  const size_t end = message.find(": cannot open shared object file");
  return end == std::string::npos ? message : "the library " + message.substr(0, end) + " is not found";
}

OpenedPlugin open_plugin(const std::string& name) {
  const std::filesystem::path path = plugin_path(name);
  if (!std::filesystem::exists(path)) return {nullptr, "this build has no " + path.string()};
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {nullptr, reason_of(dlerror())};
  const auto entry = reinterpret_cast<const BackendPlugin* (*)()>(dlsym(library, kPluginEntry));
  if (entry == nullptr) return {nullptr, path.string() + " is no plug-in of Packhorse"};
  const BackendPlugin* const plugin = entry();
  if (std::string(plugin->build) != build_id())
    return {nullptr, path.string() + " comes from another build: run make again"};
  return {plugin, plugin->missing()};
}

}  // namespace

const OpenedPlugin& opened_plugin(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, OpenedPlugin> opened;
  const std::lock_guard lock(mutex);
  const auto found = opened.find(name);
  return found != opened.end() ? found->second : opened.emplace(name, open_plugin(name)).first->second;
}

const char* build_id() { return PACKHORSE_BUILD_ID; }

}  // namespace packhorse
