// The outermost frame of every executable: an exception becomes a message on standard error and an exit code, and so
// does standard output that cannot be written.
#pragma once

#include <functional>

namespace packhorse {
int run_stage(const std::function<int()>& body);
}
