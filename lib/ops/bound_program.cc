#include "ops/bound_program.h"

#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "ops/forward.h"

namespace packhorse {

void States::add(const Program& program) {
  for (const Value& value : program.values) {
    if (value.storage != Storage::state) continue;
    const auto found = arrays_.find(value.state);
    if (found == arrays_.end()) {
      arrays_.emplace(value.state, DeviceArray<std::byte>(device_, value.bytes()));
    } else if (found->second.size() != value.bytes()) {
      throw Error({"two programs disagree about the size of the state '" + value.state + "'", program.name,
                   "build both from networks with the same parameters"});
    }
  }
}

std::byte* States::address(const std::string& state) const {
  const auto found = arrays_.find(state);
  return found == arrays_.end() ? nullptr : const_cast<std::byte*>(found->second.data());
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

BoundProgram::BoundProgram(CompiledProgram compiled, Backend& backend, const States& states, std::byte* slab,
                           Allreduce* sums, bool profile)
    : compiled_(std::move(compiled)), states_(states), slab_(slab), sums_(sums), profile_(profile) {
  const Program& program = compiled_.program;
  needs_sums_.resize(program.nodes.size());
  for (const Edge& edge : compiled_.edges)
    if (program.nodes[static_cast<size_t>(edge.from)].lane == Lane::sums &&
        program.nodes[static_cast<size_t>(edge.to)].lane == Lane::main)
      needs_sums_[static_cast<size_t>(edge.to)] = true;
  runs_.reserve(program.nodes.size());
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    runs_.push_back(bind(backend, n));
    const Node& node = program.nodes[n];
    times_.push_back({std::string(node.kind->name), node.name, node.pass, 0});
  }
}

Run BoundProgram::bind(Backend& backend, size_t number) {
  const std::function<std::byte*(int)> where = [this](int value) { return address(value); };
  const Site site(compiled_.program, compiled_.program.nodes[number], where);
  if (site.node().lane == Lane::main) return backend.bind(site);
  // A sum is begun here and goes on beside the main lane.
  const std::span<float> values(site.array<float>("dst"), static_cast<size_t>(site.count("dst")));
  return [this, values](const StepCall&) {
    if (sums_ == nullptr) return;
    sums_->start(values);
    sums_open_ = true;
  };
}

void BoundProgram::run(const StepCall& call) {
  double exposed = 0;
  for (size_t n = 0; n < runs_.size(); ++n) {
    if (needs_sums_[n] && sums_open_) exposed += wait_for_sums();
    if (!profile_) {
      runs_[n](call);
      continue;
    }
    const Stopwatch clock;
    runs_[n](call);
    times_[n].seconds += clock.seconds();
  }
  if (sums_open_) exposed += wait_for_sums();
  if (call.report != nullptr) call.report->exposed_seconds = exposed;
}

double BoundProgram::wait_for_sums() {
  const Stopwatch clock;
  sums_open_ = false;
  sums_->wait();
  return clock.seconds();
}

std::byte* BoundProgram::address(int number) const {
  const Value& value = compiled_.program.value(number);
  if (value.storage == Storage::state) return states_.address(value.state);
  const int64_t offset = compiled_.plan.offset[static_cast<size_t>(number)];
  return offset < 0 ? nullptr : slab_ + offset;
}

std::span<const float> BoundProgram::floats(const std::string& name) const {
  const int number = value_named(compiled_.program, name);
  return {reinterpret_cast<const float*>(address(number)),
          static_cast<size_t>(compiled_.program.value(number).shape.count())};
}

}  // namespace packhorse
