#include "ops/nodes.h"

namespace packhorse {

const NodeKind kSgd = {.name = "sgd"};

}  // namespace packhorse
