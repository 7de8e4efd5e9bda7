// Turns a graph into the tasks to run, over tensors that are ranges of channels in buffers. No memory, no kernels.
//
// Two kinds of nodes disappear here:
// - Concatenations: each input is written directly into its channels of the result's buffer.
// - Sibling 1×1 convolutions, which read the same source: if their weights are adjacent in the flat array, they become
//   one convolution, and the batch norm of each sibling reads its range of channels. An average pool in front of a
//   sibling moves behind it, where it has fewer channels. (It commutes with a 1×1 convolution without bias, because
//   borders count as zeros in either order.)
// Parameters keep their places and their meaning.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/graph.h"
#include "tensor/types.h"

namespace packhorse {

/// The shape is of one image; its channels begin at `channel` in the buffer.
struct Tensor {
  Shape shape;
  int buffer = -1;
  int64_t channel = 0;
};

struct Task {
  NodeKind kind = NodeKind::input;
  std::string name;
  std::vector<int> src;  ///< numbers of tensors
  int dst = -1;
  int kernel = 1, stride = 1, pad = 0;
  bool relu = false;
  int weight = -1, bias = -1, mean = -1, variance = -1;  ///< as in Node; merged siblings: of the first one
  std::vector<int> parameters;                           ///< their gradients are complete after this task's backward
};

struct Schedule {
  std::vector<Tensor> tensors;
  std::vector<Shape> buffers;  ///< shape of one image
  std::vector<Task> tasks;     ///< in order of computation, without input and concat
  int input = -1;              ///< number of a tensor
};

/// Throws an Error for a graph it cannot run.
Schedule make_schedule(const Graph& graph, bool merge_siblings);

}  // namespace packhorse
