// Listens to the calls with which an operation graph is described to the real cuDNN, and writes down what it was, as
// the stand-in would (tests/standin/cudnn_graph.h). So a line of the stand-in's table says what the real library was
// asked.
//
// It works by its name: an executable that contains recorder.cc calls these functions instead of the library's.
#pragma once

#include <string>

namespace packhorse {

struct RecordedGraph {
  std::string signature, sizes;
};
/// The graph that was finalised last, on this thread.
const RecordedGraph& last_graph();

}  // namespace packhorse
