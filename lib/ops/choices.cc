#include "ops/choices.h"

#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"

namespace packhorse {

namespace fs = std::filesystem;

std::string choice_key(const std::string& device, const std::string& library, const std::string& shape) {
  return device + " | " + library + " | " + shape;
}

fs::path choices_path() {
  const char* const caches = std::getenv("XDG_CACHE_HOME");
  if (caches != nullptr && fs::path(caches).is_absolute()) return fs::path(caches) / "packhorse" / "choices.json";
  const char* const home = std::getenv("HOME");
  if (home == nullptr || !fs::path(home).is_absolute()) return {};
  return fs::path(home) / ".cache" / "packhorse" / "choices.json";
}

Choices read_choices(const fs::path& path) {
  if (path.empty() || !fs::exists(path)) return {};
  try {
    Choices choices;
    const Json file = read_json(path);
    if (!file.is_object()) throw DamageError({"it is no object of choices", path.string(), ""});
    for (const auto& [key, choice] : file.items()) choices[key] = json_member<std::string>(file, key, path.string());
    return choices;
  } catch (const Error& error) {
    log_warning(std::string(error.what()) + "\n  the choices in it are measured again");
    return {};
  }
}

void keep_choices(const fs::path& path, const Choices& choices) {
  if (path.empty() || choices.empty()) return;
  try {
    const Choices before = read_choices(path);
    Choices all = before;
    for (const auto& [key, choice] : choices) all[key] = choice;
    if (all == before) return;
    make_folder(path.parent_path());
    write_json(path, Json(all));
  } catch (const Error& error) {
    log_warning(std::string(error.what()) + "\n  the next run measures again");
  }
}

}  // namespace packhorse
