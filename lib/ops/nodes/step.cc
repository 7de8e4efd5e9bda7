#include "ops/nodes.h"

namespace packhorse {

const NodeKind kSum = {.name = "sum"};
const NodeKind kFinite = {.name = "finite"};
const NodeKind kNorm = {.name = "norm"};
const NodeKind kRunningStatistics = {.name = "running_statistics"};
const NodeKind kCopy = {.name = "copy"};
const NodeKind kLossScale = {.name = "loss_scale"};
const NodeKind kReport = {.name = "report"};

}  // namespace packhorse
