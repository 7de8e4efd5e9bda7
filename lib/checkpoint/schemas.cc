#include "checkpoint/schemas.h"

#include <algorithm>
#include <utility>

#include "base/schema.h"

namespace packhorse {
namespace {

// The first schemas that have what they are named after.
constexpr size_t kNamesOf02 = 2;  // the settings' names of version 0.2
constexpr size_t kState = 3;      // all arrays below /state, and two counters

/// Gives a setting another name, and the value that `change` makes of the old one.
template <typename Change>
void rename(Json& settings, const char* from, const char* to, Change change) {
  if (!settings.contains(from)) return;
  const Json value = settings.at(from);
  settings.erase(from);
  settings[to] = change(value);
}

}  // namespace

size_t checkpoint_schema_number(const std::string& found, const std::string& where) {
  const auto* const at = std::find(kCheckpointSchemas.begin(), kCheckpointSchemas.end(), found);
  if (at == kCheckpointSchemas.end()) {
    check_schema(found, kCheckpointSchema, "a checkpoint", where,
                 "give a file that packhorse-train wrote (checkpoints/step-....h5), or train again");
  }
  return static_cast<size_t>(at - kCheckpointSchemas.begin()) + 1;
}

std::string state_group(size_t schema, const std::string& array) {
  if (schema >= kState) return "state/" + array;
  return array == "weights" ? "parameters" : array;
}

bool has_one_counter(size_t schema) { return schema < kState; }
bool has_choices(size_t schema) { return schema >= kState; }

Json todays_settings(size_t schema, Json settings) {
  if (schema < kNamesOf02) {
    rename(settings, "mirror", "hflip", [](const Json& mirror) { return mirror == true ? 0.5 : 0.0; });
    rename(settings, "schedule", "sched", [](const Json& kind) { return kind == "steps" ? "multistep" : kind; });
    rename(settings, "backend", "backend", [](const Json& name) { return name == "onednn" ? "cpu" : name; });
    if (!settings.contains("opt")) settings["opt"] = "sgd";  // the only optimizer that there was
  }
  return settings;
}

}  // namespace packhorse
