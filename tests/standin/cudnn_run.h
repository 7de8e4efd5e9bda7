// The stand-in for cuDNN, second part: an operation graph on the processor, in plain loops.
//
// Operands have their declared type; everything between them is f32, products are summed in f32, and a result is
// rounded once to its type. Whoever reads a result that is written reads the rounded one.
#pragma once

#include <cstdint>
#include <map>

#include "standin/cudnn_graph.h"

namespace packhorse::standin {

/// `addresses`: by uid, where the tensors are that are not virtual. `rounds_to_tf32`: f32 operands of products are
/// rounded to 11 bits first, as tensor cores take them.
void run(const OperationGraph& graph, const std::map<int64_t, void*>& addresses, bool rounds_to_tf32);

}  // namespace packhorse::standin
