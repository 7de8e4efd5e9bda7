#include "checkpoint/choices.h"

#include "base/log.h"

namespace packhorse {

std::string choice_key(const std::string& device, const std::string& library, const std::string& shape) {
  return device + " | " + library + " | " + shape;
}

std::optional<std::string> stored_choice(const Json& choices, const std::string& key) {
  if (choices.contains(key)) return json_member<std::string>(choices, key, "the checkpoint's choices");
  if (!choices.empty()) {
    log_warning("the checkpoint has no choice for '" + key +
                "', so it is measured again: from here on the bits may differ from an uninterrupted run's");
  }
  return std::nullopt;
}

}  // namespace packhorse
