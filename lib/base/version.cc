#include "base/version.h"

namespace packhorse {

// The Makefile reads it from the file VERSION.
const char* const kVersion = PACKHORSE_VERSION;

}  // namespace packhorse
