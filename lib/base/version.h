// The version that --version, manifests and journals state: the content of the file VERSION.
#pragma once

namespace packhorse {
extern const char* const kVersion;
}
