// Choices that a measurement made: which of several ways to compute the same was the fastest.
//
// Rule: two ways may round differently, so a resumed training keeps the choices that its checkpoint states. A choice
// holds for the device, the library and the shape that it was measured with; for any other it is measured again.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace packhorse {

/// "cpu | oneDNN 2.6 | conv 3x3 64 64": under this name the choice is stored.
std::string choice_key(const std::string& device, const std::string& library, const std::string& shape);

/// The choice for this key (CheckpointInfo::choices), or nothing if it must be measured. If there are choices and none
/// is for this key, it warns that the bits may differ from those of a run that was not interrupted.
std::optional<std::string> stored_choice(const Json& choices, const std::string& key);

}  // namespace packhorse
