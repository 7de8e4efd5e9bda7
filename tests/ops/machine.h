// What an executor is made of, with memory of the test's own: a training step and inference of a network on one slab.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ops/backward.h"
#include "ops/bound_program.h"
#include "ops/compile.h"
#include "ops/device_bytes.h"
#include "ops/executor.h"
#include "ops/input_slots.h"
#include "ops/step.h"

namespace packhorse {

class Machine {
 public:
  /// `sums` may be null and must outlive it. The weights are zeros: write them.
  Machine(std::unique_ptr<Backend> backend, const Graph& graph, const StepOptions& options, Allreduce* sums = nullptr)
      : backend_(std::move(backend)),
        lanes_(backend_->device(), false, sums),
        states_(backend_->device()),
        image_bytes_(graph.image_size * graph.image_size * 3),
        inputs_(backend_->device(), lanes_, 1, static_cast<size_t>(options.forward.batch * image_bytes_),
                static_cast<size_t>(options.forward.batch)),
        report_(backend_->device(), 1) {
    Program copies{.name = "refresh"}, none;
    CompiledProgram step = compile(training_step(graph, options, backend_->algebraic()), *backend_, copies);
    CompiledProgram inference =
        compile(inference_program(graph, options.forward, backend_->algebraic()), *backend_, copies);
    CompiledProgram refresh = compile(std::move(copies), *backend_, none);
    uint64_t bytes = 0;
    for (const CompiledProgram* one : {&step, &inference, &refresh}) {
      states_.add(one->program);
      bytes = std::max(bytes, one->plan.bytes);
    }
    slab_ = DeviceMemory(backend_->device(), bytes);
    fill_bytes(main(), slab_.address(), bytes, std::byte{0xff});
    const auto bound = [&](CompiledProgram& program) {
      return std::make_unique<BoundProgram>(std::move(program), *backend_, states_, slab_.address(), lanes_, false);
    };
    step_ = bound(step), inference_ = bound(inference), refresh_ = bound(refresh);
  }

  DeviceAddress address(const std::string& state) const { return states_.address(state); }
  std::vector<float> state(const std::string& name) {
    return read_floats(main(), states_.address(name), states_.bytes(name));
  }
  void write(std::span<const float> weights, std::span<const float> statistics) {
    write_bytes(main(), states_.address(kWeights), std::as_bytes(weights));
    write_bytes(main(), states_.address(kRunning), std::as_bytes(statistics));
    const StepCall call;
    run(*refresh_, call);
  }
  /// Numbers that are none in every type, wherever nothing is kept: the slab with its workspaces, and the states that a
  /// step writes anew.
  void poison() {
    fill_bytes(main(), slab_.address(), slab_.bytes(), std::byte{0xff});
    for (const char* name : {kGradients, kBatchStatistics, "words"})
      fill_bytes(main(), states_.address(name), states_.bytes(name), std::byte{0xff});
  }
  StepReport step(const StepInput& input) {
    report_[0] = {};
    StepCall call = inputs_.enter(input, image_bytes_);
    call.report = &report_[0];
    run(*step_, call);
    return report_[0];
  }
  /// The logits.
  std::vector<float> infer(std::span<const uint8_t> pixels) {
    const StepCall call = inputs_.enter({.pixels = pixels}, image_bytes_);
    run(*inference_, call);
    return result("logits");
  }
  /// Of the program that ran last: "logits", "features".
  std::vector<float> result(const std::string& name) {
    const Program& program = last_->compiled().program;
    const int number = value_named(program, name);
    return read_floats(main(), last_->address(number), program.value(number).bytes());
  }
  /// The bytes of all states, copies of weights included.
  std::vector<std::byte> all_states() {
    std::vector<std::byte> bytes;
    for (const BoundProgram* program : {step_.get(), refresh_.get()})
      for (const Value& value : program->compiled().program.values) {
        if (value.storage != Storage::state) continue;
        const auto one = read_bytes(main(), states_.address(value.state), states_.bytes(value.state));
        bytes.insert(bytes.end(), one.begin(), one.end());
      }
    return bytes;
  }

 private:
  Stream& main() { return lanes_.of(Lane::main); }
  void run(BoundProgram& program, const StepCall& call) {
    program.enqueue(call);
    inputs_.leave();
    main().synchronize();
    last_ = &program;
  }

  std::unique_ptr<Backend> backend_;
  LaneStreams lanes_;
  States states_;
  int64_t image_bytes_;
  InputSlots inputs_;
  HostArray<StepReport> report_;
  DeviceMemory slab_;
  std::unique_ptr<BoundProgram> step_, inference_, refresh_;
  const BoundProgram* last_ = nullptr;
};

}  // namespace packhorse
