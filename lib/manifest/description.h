// The grammar of a data set's description, held to before anything is read: data_manifests/README.md.
#pragma once

#include <string>

#include "base/json.h"

namespace packhorse {

/// Throws a UsageError for a member that the grammar does not have (with the nearest that it has), for one of another
/// type or out of its range, and for members that exclude each other. `where`: its path, for messages. What is under
/// `stages` is for each stage to check.
void check_description(const Json& description, const std::string& where);

}  // namespace packhorse
