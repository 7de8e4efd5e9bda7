#include "ops/schedule.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace packhorse {

namespace {

class Scheduler {
 public:
  Scheduler(const Graph& graph, bool merge_siblings) : graph_(graph), consumers_(graph.nodes.size()) {
    for (size_t i = 0; i < graph.nodes.size(); ++i)
      for (const int input : graph.nodes[i].inputs)
        consumers_[static_cast<size_t>(input)].push_back(static_cast<int>(i));
    tensor_of_.assign(graph.nodes.size(), -1);
    group_of_.assign(graph.nodes.size(), -1);
    if (merge_siblings) find_siblings();
  }

  Schedule run() {
    place_concats();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) schedule_node(static_cast<int>(i));
    return std::move(schedule_);
  }

 private:
  struct Group {
    int source = -1;           // node
    std::vector<int> members;  // convolutions, in order of their weights
    int wide = -1;             // tensor of the merged result, once scheduled
  };

  const Node& node(int number) const { return graph_.nodes[static_cast<size_t>(number)]; }
  int& tensor_of(int number) { return tensor_of_[static_cast<size_t>(number)]; }
  int group_of(int number) const { return group_of_[static_cast<size_t>(number)]; }
  const std::vector<int>& consumers(int number) const { return consumers_[static_cast<size_t>(number)]; }

  // An average pool can move behind the convolution that reads it if it keeps the size and has no other reader.
  bool moves_behind(int number) const {
    const Node& pool = node(number);
    return pool.kind == NodeKind::average_pool && pool.stride == 1 && pool.kernel == 2 * pool.pad + 1 &&
           consumers(number).size() == 1;
  }

  // The node that a convolution reads from if it can be merged, else -1.
  int source_of(int number) const {
    const Node& conv = node(number);
    if (conv.kind != NodeKind::convolution || conv.kernel != 1 || conv.stride != 1 || conv.bias >= 0) return -1;
    // Only operations that can read a range of channels may read its result.
    for (const int reader : consumers(number))
      if (node(reader).kind != NodeKind::batch_norm) return -1;
    const int input = conv.inputs.front();
    return moves_behind(input) ? node(input).inputs.front() : input;
  }

  void find_siblings() {
    std::map<int, std::vector<int>> by_source;
    for (size_t i = 0; i < graph_.nodes.size(); ++i)
      if (const int source = source_of(static_cast<int>(i)); source >= 0)
        by_source[source].push_back(static_cast<int>(i));
    for (auto& [source, convs] : by_source) {
      const auto offset = [&](int conv) { return parameter(node(conv).weight).offset; };
      std::sort(convs.begin(), convs.end(), [&](int a, int b) { return offset(a) < offset(b); });
      for (size_t first = 0, last; first < convs.size(); first = last) {
        for (last = first + 1; last < convs.size(); ++last)
          if (offset(convs[last]) != offset(convs[last - 1]) + parameter(node(convs[last - 1]).weight).count) break;
        if (last - first < 2) continue;
        for (size_t i = first; i < last; ++i)
          group_of_[static_cast<size_t>(convs[i])] = static_cast<int>(groups_.size());
        groups_.push_back(
            {.source = source,
             .members = {convs.begin() + static_cast<int64_t>(first), convs.begin() + static_cast<int64_t>(last)}});
      }
    }
  }

  const Parameter& parameter(int number) const { return graph_.parameters[static_cast<size_t>(number)]; }

  int add_buffer(const Shape& shape) {
    schedule_.buffers.push_back(shape);
    return static_cast<int>(schedule_.buffers.size()) - 1;
  }

  int add_tensor(const Shape& shape, int buffer, int64_t channel) {
    schedule_.tensors.push_back({.shape = shape, .buffer = buffer, .channel = channel});
    return static_cast<int>(schedule_.tensors.size()) - 1;
  }

  int own_tensor(const Shape& shape) { return add_tensor(shape, add_buffer(shape), 0); }

  // From the last to the first, so that a concat inside another one is already placed when its turn comes.
  void place_concats() {
    for (int i = static_cast<int>(graph_.nodes.size()) - 1; i >= 0; --i) {
      if (node(i).kind != NodeKind::concat) continue;
      if (tensor_of(i) < 0) tensor_of(i) = own_tensor(node(i).out);
      const Tensor whole = schedule_.tensors[static_cast<size_t>(tensor_of(i))];
      int64_t channel = whole.channel;
      for (const int input : node(i).inputs) {
        const bool ranged = node(input).kind == NodeKind::batch_norm || node(input).kind == NodeKind::max_pool ||
                            node(input).kind == NodeKind::average_pool || node(input).kind == NodeKind::concat ||
                            node(input).kind == NodeKind::add;
        if (consumers(input).size() != 1 || !ranged)
          throw Error(
              {"a concat can only take results of batch norms, additions, pools and concats that nothing else reads",
               graph_.name + ", " + node(i).name, "change the network"});
        tensor_of(input) = add_tensor(node(input).out, whole.buffer, channel);
        channel += node(input).out.c;
      }
    }
  }

  void schedule_node(int number) {
    const Node& n = node(number);
    if (n.kind == NodeKind::concat) return;
    if (n.kind == NodeKind::average_pool && moves_behind(number) && group_of(consumers(number).front()) >= 0) return;
    if (group_of(number) >= 0) return schedule_sibling(number);
    if (tensor_of(number) < 0) tensor_of(number) = own_tensor(n.out);
    if (n.kind == NodeKind::input) {
      schedule_.input = tensor_of(number);
      return;
    }
    Task task = task_of(number);
    task.src.reserve(n.inputs.size());
    for (const int input : n.inputs) task.src.push_back(tensor_of(input));
    task.dst = tensor_of(number);
    for (const int p : {n.weight, n.bias})
      if (p >= 0) task.parameters.push_back(p);
    schedule_.tasks.push_back(std::move(task));
  }

  Task task_of(int number) const {
    const Node& n = node(number);
    return {.kind = n.kind,
            .name = n.name,
            .src = {},
            .dst = -1,
            .kernel = n.kernel,
            .stride = n.stride,
            .pad = n.pad,
            .relu = n.relu,
            .weight = n.weight,
            .bias = n.bias,
            .mean = n.mean,
            .variance = n.variance,
            .parameters = {}};
  }

  void schedule_sibling(int number) {
    Group& group = groups_[static_cast<size_t>(group_of(number))];
    if (group.wide < 0) schedule_group(group);
    const Tensor wide = schedule_.tensors[static_cast<size_t>(group.wide)];
    int64_t channel = wide.channel;
    for (const int member : group.members) {
      if (member == number) break;
      channel += node(member).out.c;
    }
    tensor_of(number) = add_tensor(node(number).out, wide.buffer, channel);
    const int input = node(number).inputs.front();
    if (input == group.source) return;
    Task pool = task_of(input);
    pool.src = {tensor_of(number)};
    tensor_of(number) = pool.dst = own_tensor(node(number).out);
    schedule_.tasks.push_back(std::move(pool));
  }

  void schedule_group(Group& group) {
    Shape shape = node(group.members.front()).out;
    shape.c = 0;
    Task task = task_of(group.members.front());
    for (const int member : group.members) {
      shape.c += node(member).out.c;
      task.parameters.push_back(node(member).weight);
      if (member != group.members.front()) task.name += " + " + node(member).name;
    }
    group.wide = own_tensor(shape);
    task.src = {tensor_of(group.source)};
    task.dst = group.wide;
    schedule_.tasks.push_back(std::move(task));
  }

  const Graph& graph_;
  Schedule schedule_;
  std::vector<std::vector<int>> consumers_;
  std::vector<int> tensor_of_, group_of_;
  std::vector<Group> groups_;
};

}  // namespace

Schedule make_schedule(const Graph& graph, bool merge_siblings) { return Scheduler(graph, merge_siblings).run(); }

}  // namespace packhorse
