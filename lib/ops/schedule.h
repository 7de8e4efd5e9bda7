// A graph turned into what is run: tasks over tensors that are channel ranges of buffers. No memory, no kernels.
//
// Two things disappear here. Concatenation: its inputs are written straight into their channels of its buffer. Sibling
// 1×1 convolutions of one source: where their weights stand side by side they become one convolution whose channels
// the siblings' batch norms read; an average pool in front of one moves behind it (it commutes with a 1×1 convolution
// without bias, as borders count zeros either way), over fewer channels. Parameters keep their places and meaning.
#pragma once

#include <string>
#include <vector>

#include "net/graph.h"

namespace packhorse {

/// Shape is of one image; `channel` is where its channels begin in the buffer.
struct Tensor {
  Shape shape;
  int buffer = -1;
  int64_t channel = 0;
};

struct Task {
  NodeKind kind = NodeKind::input;
  std::string name;
  std::vector<int> src;  ///< tensors
  int dst = -1;
  int kernel = 1, stride = 1, pad = 0;
  bool relu = false;
  int weight = -1, bias = -1, mean = -1, variance = -1;  ///< as in Node; of merged siblings, the first one's
  std::vector<int> parameters;                           ///< those whose gradients this task's backward completes
};

struct Schedule {
  std::vector<Tensor> tensors;
  std::vector<Shape> buffers;  ///< shape of one image
  std::vector<Task> tasks;     ///< in order of computation, without input and concat
  int input = -1;              ///< tensors
};

/// Throws an Error for a graph it cannot run.
Schedule make_schedule(const Graph& graph, bool merge_siblings);

}  // namespace packhorse
