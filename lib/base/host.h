// The machine that this process runs on, as manifests and journals name it.
#pragma once

#include <string>

namespace packhorse {

/// Its host name, or "unknown".
std::string host_name();

}  // namespace packhorse
