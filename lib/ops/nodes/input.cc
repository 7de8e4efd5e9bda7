#include "ops/nodes.h"

namespace packhorse {

const NodeKind kInput = {.name = "input"};

}  // namespace packhorse
