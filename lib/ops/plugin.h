// A backend in a shared object of its own, which needs libraries that most machines do not have. It is opened when
// somebody first asks for it, from `lib/packhorse/` beside the folder of the executable, and stays open.
//
// Rule: the shared object has no code of the rooms but its own; it uses those of the executable. So both must come from
// one build.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ops/backend.h"
#include "tensor/types.h"

namespace packhorse {

class Allreduce;

/// What a shared object hands over.
struct BackendPlugin {
  const char* build;         ///< build_id() where it was compiled
  std::string (*missing)();  ///< why nothing can run here; empty if it can
  std::vector<Dtype> (*types)();
  std::unique_ptr<Backend> (*make)(const BackendOptions& options);
  /// Sums over ranks: rank 0 makes an id, which all ranks hand over at the same time.
  std::string (*sums_id)();
  std::unique_ptr<Allreduce> (*make_sums)(Device& device, const std::string& id, int rank, int ranks);
};
/// Its only symbol: const BackendPlugin* packhorse_backend().
inline constexpr const char* kPluginEntry = "packhorse_backend";

struct OpenedPlugin {
  const BackendPlugin* plugin = nullptr;
  std::string missing;  ///< why it cannot be used: the file, a library, a driver, a device; empty if it can
};
/// `name`: of the file, without "packhorse-" and ".so". Opens it at the first call.
const OpenedPlugin& opened_plugin(const std::string& name);

/// What the interface between executable and plug-in was compiled from, as a checksum.
const char* build_id();

}  // namespace packhorse
