// The version that --help, manifests and checkpoints state.
#pragma once

namespace packhorse {
inline constexpr const char* kVersion = "0.1.0";
}
