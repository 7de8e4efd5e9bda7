#include "ops/bound_program.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace packhorse {

void States::add(const Program& program) {
  for (const Value& value : program.values) {
    if (value.storage != Storage::state) continue;
    const auto found = arrays_.find(value.state);
    if (found == arrays_.end()) {
      arrays_.emplace(value.state, DeviceMemory(device_, value.bytes()));
    } else if (found->second.bytes() != value.bytes()) {
      throw Error({"two programs disagree about the size of the state '" + value.state + "'", program.name,
                   "build both from networks with the same parameters"});
    }
  }
}

DeviceAddress States::address(const std::string& state) const {
  const auto found = arrays_.find(state);
  return found == arrays_.end() ? DeviceAddress() : found->second.address();
}

uint64_t States::bytes(const std::string& state) const {
  const auto found = arrays_.find(state);
  return found == arrays_.end() ? 0 : found->second.bytes();
}

uint64_t States::bytes() const {
  uint64_t sum = 0;
  for (const auto& [name, array] : arrays_) sum += array.bytes();
  return sum;
}

BoundProgram::BoundProgram(CompiledProgram compiled, Backend& backend, const States& states, DeviceAddress slab,
                           const LaneStreams& lanes, bool profile)
    : compiled_(std::move(compiled)),
      backend_(backend),
      states_(states),
      slab_(slab),
      lanes_(lanes),
      profile_(profile),
      nodes_(compiled_.program.nodes.size()),
      begin_(backend.device().make_event()) {
  order_lanes();
  for (size_t n = 0; n < nodes_.size(); ++n) {
    nodes_[n].run = bind(n);
    times_.push_back({std::string(node(n).kind->name), node(n).name, node(n).pass, 0});
  }
}

Run BoundProgram::bind(size_t number) {
  const Site::Address where = [this](int value) { return address(value); };
  const Site site(compiled_.program, node(number), where, lanes_.of(node(number).lane));
  if (node(number).lane != Lane::sums) return backend_.bind(site);
  Allreduce* const sums = lanes_.sums();
  if (sums == nullptr) return nullptr;
  const Operand& dst = node(number).at("dst");
  const DeviceAddress values = address(dst.value) + dst.first * static_cast<int64_t>(sizeof(float));
  return [sums, values, count = dst.count](const StepCall&) { sums->enqueue(values, count); };
}

// A node waits for nodes of other lanes only if its lane has not waited for them, or for later ones of theirs, before.
void BoundProgram::order_lanes() {
  std::array<std::array<int, kLanes>, kLanes> known{};  // by lane, by other lane: the last node that was waited for
  for (auto& row : known) row.fill(-1);
  std::array<int, kLanes> last{};
  last.fill(-1);
  std::vector<Edge> edges = compiled_.edges;
  std::sort(edges.begin(), edges.end(),
            [](const Edge& a, const Edge& b) { return a.to != b.to ? a.to < b.to : a.from > b.from; });
  for (const Edge& edge : edges) {
    const auto from = static_cast<size_t>(node(static_cast<size_t>(edge.from)).lane);
    const auto to = static_cast<size_t>(node(static_cast<size_t>(edge.to)).lane);
    if (from == to || edge.from <= known[to][from]) continue;
    known[to][from] = edge.from;
    nodes_[static_cast<size_t>(edge.to)].waits.push_back(edge.from);
  }
  for (size_t n = 0; n < nodes_.size(); ++n) last[static_cast<size_t>(node(n).lane)] = static_cast<int>(n);
  for (const Lane lane : {Lane::side, Lane::sums, Lane::copies}) {
    const int end = last[static_cast<size_t>(lane)];
    if (end < 0) continue;
    beside_.push_back(lane);
    last_.push_back(end);
  }
  const auto give_event = [&](int n) {
    if (nodes_[static_cast<size_t>(n)].end == nullptr)
      nodes_[static_cast<size_t>(n)].end = backend_.device().make_event();
  };
  for (size_t n = 0; n < nodes_.size(); ++n)
    for (const int other : nodes_[n].waits) give_event(other);
  for (const int n : last_) give_event(n);
}

BoundProgram::~BoundProgram() { backend_.device().forget(this); }

void BoundProgram::enqueue(const StepCall& call) {
  Stream& main = lanes_.of(Lane::main);
  backend_.begin(call, main);
  // What is replayed has no times of its nodes.
  const bool sums = std::find(beside_.begin(), beside_.end(), Lane::sums) != beside_.end();
  if (profile_ || (sums && lanes_.sums() != nullptr && !lanes_.sums()->repeats()))
    enqueue_nodes(call);
  else
    backend_.device().repeat(main, this, [&] { enqueue_nodes(call); });
}

void BoundProgram::enqueue_nodes(const StepCall& call) {
  Stream& main = lanes_.of(Lane::main);
  main.record(*begin_);
  main.enqueue([this] { backend_.enter(); });
  for (const Lane lane : beside_) {
    lanes_.of(lane).wait(*begin_);
    if (lane != Lane::sums) lanes_.of(lane).enqueue([this] { backend_.enter(); });
  }
  for (size_t n = 0; n < nodes_.size(); ++n) {
    Bound& bound = nodes_[n];
    Stream& stream = lanes_.of(node(n).lane);
    for (const int other : bound.waits) wait(stream, other, call);
    if (node(n).lane == Lane::sums) {
      if (bound.run) bound.run(call);
    } else {
      stream.enqueue([&bound, &call] { bound.run(call); }, profile_ ? &times_[n].seconds : nullptr);
    }
    if (bound.end != nullptr) stream.record(*bound.end);
  }
  for (const int n : last_) wait(main, n, call);
}

// What the main lane waits for the sums is what backward did not hide of them.
void BoundProgram::wait(Stream& stream, int other, const StepCall& call) {
  const bool exposed = &stream == &lanes_.of(Lane::main) && node(static_cast<size_t>(other)).lane == Lane::sums;
  stream.wait(*nodes_[static_cast<size_t>(other)].end,
              exposed && call.report != nullptr ? &call.report->exposed_seconds : nullptr);
}

DeviceAddress BoundProgram::address(int number) const {
  const Value& value = compiled_.program.value(number);
  if (value.storage == Storage::state) return states_.address(value.state);
  const int64_t offset = compiled_.plan.offset[static_cast<size_t>(number)];
  return offset < 0 ? DeviceAddress() : slab_ + offset;
}

}  // namespace packhorse
