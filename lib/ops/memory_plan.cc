#include "ops/memory_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace packhorse {

namespace {

// One page, so that buffers share neither pages nor cache lines.
constexpr uint64_t kAlignment = 4096;

bool overlap(const PlannedBuffer& a, const PlannedBuffer& b) {
  for (const Lifetime& x : a.lifetimes)
    for (const Lifetime& y : b.lifetimes)
      if (x.first <= y.last && y.first <= x.last) return true;
  return false;
}

void extend(Lifetime& lifetime, int time) {
  lifetime.first = std::min(lifetime.first, time);
  lifetime.last = std::max(lifetime.last, time);
}

constexpr Lifetime kNever{std::numeric_limits<int>::max(), -1};

class Planner {
 public:
  Planner(const Schedule& schedule, const PlanOptions& options)
      : schedule_(schedule), options_(options), tasks_(static_cast<int>(schedule.tasks.size())) {}

  MemoryPlan run() {
    plan_.source_write.resize(schedule_.tasks.size());
    plan_.recompute.resize(schedule_.tasks.size());
    plan_.argmax.assign(schedule_.tasks.size(), -1);
    plan_.gradient.assign(schedule_.buffers.size(), -1);
    plan_activations();
    if (options_.training) {
      plan_source_writes();
      plan_gradients();
      plan_argmax();
    }
    plan_.unplanned_bytes +=
        std::accumulate(plan_.buffers.begin(), plan_.buffers.end(), uint64_t{0},
                        [](uint64_t sum, const PlannedBuffer& buffer) { return sum + buffer.bytes; });
    plan_.bytes = place(plan_.buffers, kAlignment);
    return std::move(plan_);
  }

 private:
  const Task& task(int t) const { return schedule_.tasks[static_cast<size_t>(t)]; }
  const Tensor& tensor(int number) const { return schedule_.tensors[static_cast<size_t>(number)]; }
  int forward_time(int t) const { return t + 1; }
  int backward_time(int t) const { return 2 * tasks_ + 1 - t; }

  // Global pooling and the fully connected layer write to small f32 arrays that the executor owns.
  static bool in_arena(const Task& t) {
    return t.kind != NodeKind::global_average_pool && t.kind != NodeKind::fully_connected;
  }

  // Values that backward reads. Batch norm needs no result for its ReLU: it recomputes the sign from its source.
  static bool reads_source_in_backward(const Task& t) {
    return t.kind == NodeKind::convolution || t.kind == NodeKind::batch_norm;
  }
  static bool reads_result_in_backward(const Task& t) { return t.kind == NodeKind::add && t.relu; }

  uint64_t bytes_of(size_t buffer, uint64_t element) const {
    return static_cast<uint64_t>(schedule_.buffers[buffer].count() * options_.batch) * element;
  }

  int add(std::string name, uint64_t bytes, std::vector<Lifetime> lifetimes) {
    plan_.buffers.push_back({.name = std::move(name), .bytes = bytes, .lifetimes = std::move(lifetimes)});
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  // True if only batch norms write to the buffer, because they can recompute it.
  bool can_recompute(int buffer) const {
    bool written = false;
    for (const Task& t : schedule_.tasks) {
      if (!in_arena(t) || tensor(t.dst).buffer != buffer) continue;
      if (t.kind != NodeKind::batch_norm) return false;
      written = true;
    }
    return written;
  }

  void plan_activations() {
    for (size_t b = 0; b < schedule_.buffers.size(); ++b) {
      const int buffer = static_cast<int>(b);
      Lifetime forward = kNever, backward = kNever;
      if (tensor(schedule_.input).buffer == buffer) extend(forward, 0);
      int last_reader = -1;  // its backward runs first
      for (int t = 0; t < tasks_; ++t) {
        const bool writes = in_arena(task(t)) && tensor(task(t).dst).buffer == buffer;
        bool reads = false;
        if (task(t).kind != NodeKind::fully_connected)
          for (const int src : task(t).src) reads |= tensor(src).buffer == buffer;
        if (reads || writes) extend(forward, forward_time(t));
        if (!options_.training) continue;
        if ((reads && reads_source_in_backward(task(t))) || (writes && reads_result_in_backward(task(t)))) {
          extend(backward, backward_time(t));
          last_reader = t;
        }
      }
      if (forward.last < 0) {
        plan_.activation.push_back(-1);
        continue;
      }
      std::vector<Lifetime> lifetimes = {forward};
      if (backward.last >= 0 && options_.recompute && can_recompute(buffer)) {
        lifetimes.push_back(backward);
        for (int t = 0; t < tasks_; ++t)
          if (in_arena(task(t)) && tensor(task(t).dst).buffer == buffer)
            plan_.recompute[static_cast<size_t>(last_reader)].push_back(t);
      } else if (backward.last >= 0) {
        lifetimes.front().last = backward.last;
      }
      plan_.activation.push_back(
          add("activation " + std::to_string(b), bytes_of(b, size_of(options_.dtype)), lifetimes));
    }
  }

  // Backward visits the readers of a tensor from the last to the first: the first visited assigns, the others add.
  void plan_source_writes() {
    std::vector<bool> written(schedule_.tensors.size(), false);
    for (int t = tasks_ - 1; t >= 0; --t)
      for (const int src : task(t).src) {
        Write write = Write::none;
        if (src != schedule_.input) {
          write = written[static_cast<size_t>(src)] ? Write::accumulate : Write::assign;
          written[static_cast<size_t>(src)] = true;
        }
        plan_.source_write[static_cast<size_t>(t)].push_back(write);
      }
  }

  // The gradient of a batch norm's source can use the memory of the source if nothing else reads these values in
  // backward: the last loop of batch norm's backward reads a value and writes its gradient to the same place.
  bool gradient_in_place(int buffer) const {
    bool normalised = false;
    for (int t = 0; t < tasks_; ++t) {
      if (in_arena(task(t)) && tensor(task(t).dst).buffer == buffer && reads_result_in_backward(task(t))) return false;
      for (size_t i = 0; i < task(t).src.size(); ++i) {
        if (task(t).kind == NodeKind::fully_connected || tensor(task(t).src[i]).buffer != buffer) continue;
        if (plan_.source_write[static_cast<size_t>(t)][i] != Write::assign) return false;
        if (task(t).kind != NodeKind::batch_norm && task(t).kind != NodeKind::average_pool) return false;
        normalised |= task(t).kind == NodeKind::batch_norm;
      }
    }
    return normalised;
  }

  void plan_gradients() {
    for (size_t b = 0; b < schedule_.buffers.size(); ++b) {
      const int buffer = static_cast<int>(b);
      if (plan_.activation[b] < 0 || tensor(schedule_.input).buffer == buffer) continue;
      Lifetime lifetime = kNever;
      for (int t = 0; t < tasks_; ++t) {
        const bool writes = in_arena(task(t)) && tensor(task(t).dst).buffer == buffer;
        bool reads = false;
        if (task(t).kind != NodeKind::fully_connected)
          for (const int src : task(t).src) reads |= tensor(src).buffer == buffer;
        if (reads || writes) extend(lifetime, backward_time(t));
      }
      if (gradient_in_place(buffer)) {
        Lifetime& whole = plan_.buffers[static_cast<size_t>(plan_.activation[b])].lifetimes.front();
        whole.last = std::max(whole.last, lifetime.last);
        plan_.gradient[b] = plan_.activation[b];
        plan_.unplanned_bytes += bytes_of(b, size_of(options_.dtype));
      } else {
        plan_.gradient[b] = add("gradient " + std::to_string(b), bytes_of(b, size_of(options_.dtype)), {lifetime});
      }
    }
  }

  void plan_argmax() {
    for (int t = 0; t < tasks_; ++t)
      if (task(t).kind == NodeKind::max_pool)
        plan_.argmax[static_cast<size_t>(t)] =
            add("argmax of " + task(t).name, static_cast<uint64_t>(tensor(task(t).dst).shape.count() * options_.batch),
                {{forward_time(t), backward_time(t)}});
  }

  const Schedule& schedule_;
  const PlanOptions options_;
  const int tasks_;
  MemoryPlan plan_;
};

}  // namespace

uint64_t place(std::vector<PlannedBuffer>& buffers, uint64_t alignment) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; });
  std::vector<size_t> placed;  // in order of offset
  uint64_t total = 0;
  for (const size_t index : order) {
    PlannedBuffer& buffer = buffers[index];
    uint64_t offset = 0;
    for (const size_t other : placed) {
      if (!overlap(buffer, buffers[other])) continue;
      if (offset + buffer.bytes <= buffers[other].offset) break;
      const uint64_t end = buffers[other].offset + buffers[other].bytes;
      offset = std::max(offset, (end + alignment - 1) / alignment * alignment);
    }
    buffer.offset = offset;
    total = std::max(total, offset + buffer.bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), index,
                                   [&](size_t a, size_t b) { return buffers[a].offset < buffers[b].offset; }),
                  index);
  }
  return total;
}

MemoryPlan plan_memory(const Schedule& schedule, const PlanOptions& options) {
  return Planner(schedule, options).run();
}

}  // namespace packhorse
