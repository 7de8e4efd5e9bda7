// A training of three steps whose every part a test can break: what the toy must see.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/builder.h"
#include "ops/bound_program.h"
#include "ops/compile.h"
#include "ops/device_bytes.h"
#include "ops/input_slots.h"
#include "ops/step.h"
#include "ops/toy_backend.h"

namespace packhorse::toy {

/// Counts the waits and the records of its streams, and breaks one of them.
class BrokenDevice : public Device {
 public:
  explicit BrokenDevice(ToyDevice& toy) : toy_(toy) {}

  int dropped_wait = -1, early_record = -1;  ///< their numbers, from 0; -1: none
  bool forget_records = false;               ///< of the streams that are made from now on
  int waits = 0, records = 0;                ///< so far

  std::string name() const override { return toy_.name(); }
  uint64_t memory_bytes() const override { return toy_.memory_bytes(); }
  std::unique_ptr<Stream> make_stream(bool beside) override {
    return std::make_unique<BrokenStream>(*this, toy_.make_stream(beside), forget_records);
  }
  std::unique_ptr<Event> make_event() override { return toy_.make_event(); }
  DeviceAddress allocate(size_t bytes) override { return toy_.allocate(bytes); }
  void free(DeviceAddress address, size_t bytes) noexcept override { toy_.free(address, bytes); }
  std::byte* allocate_host(size_t bytes) override { return toy_.allocate_host(bytes); }
  void free_host(std::byte* address, size_t bytes) noexcept override { toy_.free_host(address, bytes); }

 private:
  // Work goes on one call late, so that a record can come before it.
  class BrokenStream : public Stream {
   public:
    BrokenStream(BrokenDevice& device, std::unique_ptr<Stream> stream, bool forgets)
        : device_(device), stream_(std::move(stream)), forgets_(forgets) {}
    ~BrokenStream() override { pass_on(); }
    void enqueue(Work work, double* seconds) override {
      pass_on();
      held_ = [this, work = std::move(work), seconds] { stream_->enqueue(work, seconds); };
    }
    void write(DeviceAddress to, std::span<const std::byte> from) override {
      pass_on();
      held_ = [=, this] { stream_->write(to, from); };
    }
    void read(std::span<std::byte> to, DeviceAddress from) override {
      pass_on();
      held_ = [=, this] { stream_->read(to, from); };
    }
    void record(Event& event) override {
      const bool early = device_.records++ == device_.early_record;
      if (!early) pass_on();
      if (forgets_)
        static_cast<ToyEvent&>(event).announce();
      else
        stream_->record(event);
      pass_on();
    }
    void wait(const Event& event, double* seconds) override {
      pass_on();
      if (device_.waits++ != device_.dropped_wait) stream_->wait(event, seconds);
    }
    void synchronize() override {
      pass_on();
      stream_->synchronize();
    }

   private:
    void pass_on() {
      if (const auto held = std::exchange(held_, nullptr)) held();
    }
    BrokenDevice& device_;
    std::unique_ptr<Stream> stream_;
    bool forgets_;
    std::function<void()> held_;
  };

  ToyDevice& toy_;
};

/// The toy's backend on such a device.
class BrokenBackend : public ToyBackend {
 public:
  BrokenBackend(std::unique_ptr<Backend> kernels, ToyDevice& toy, BrokenDevice& device)
      : ToyBackend(std::move(kernels), toy, true), broken_(device) {}
  Device& device() const override { return broken_; }

 private:
  BrokenDevice& broken_;
};

/// Sums over two ranks that have the same values.
class Doubling : public Allreduce {
 public:
  explicit Doubling(Device& device) : stream_(device.make_stream(true)) {}
  int ranks() const override { return 2; }
  Stream& stream() override { return *stream_; }
  void enqueue(DeviceAddress values, int64_t count) override {
    std::vector<float>& sums = sums_.emplace_back(static_cast<size_t>(count));
    stream_->read(std::as_writable_bytes(std::span(sums)), values);
    stream_->enqueue([&sums] {
      for (float& value : sums) value *= 2;
    });
    stream_->write(values, std::as_bytes(std::span(sums)));
  }

 private:
  std::deque<std::vector<float>> sums_;  // stay until the stream has ended
  std::unique_ptr<Stream> stream_;
};

/// What a test breaks, outside the program and the device.
struct Misuse {
  bool change_batch_early = false;  ///< the caller does not wait until the device has taken it
  bool forget_to_leave = false;     ///< nobody says when a run reads its input no more
  bool report_on_the_heap = false;
};

/// As an executor trains: a step is enqueued before the report of the one before is collected.
class Training {
 public:
  static constexpr size_t kInFlight = 2;
  static constexpr int64_t kBatch = 2;

  Training(const Graph& graph, Backend& backend, CompiledProgram step, size_t slots = kInFlight, Misuse misuse = {})
      : misuse_(misuse),
        device_(backend.device()),
        sums_(device_),
        lanes_(device_, false, &sums_),
        states_(device_),
        inputs_(device_, lanes_, slots, image_bytes(graph) * kBatch, kBatch),
        reports_(device_, kInFlight),
        pixels_(device_, image_bytes(graph) * kBatch),
        labels_(device_, kBatch),
        image_bytes_(image_bytes(graph)),
        classes_(graph.classes) {
    states_.add(step.program);
    slab_ = DeviceMemory(device_, step.plan.bytes);
    for (Flight& flight : flights_) flight.end = device_.make_event();
    step_ = std::make_unique<BoundProgram>(std::move(step), backend, states_, slab_.address(), lanes_, false);
    std::vector<float> weights(graph.parameter_count), statistics(graph.statistic_count);
    initialise(graph, 1, weights.data(), statistics.data());
    write_bytes(main(), states_.address("weights"), std::as_bytes(std::span(weights)));
    write_bytes(main(), states_.address("statistics"), std::as_bytes(std::span(statistics)));
  }
  ~Training() {
    for (const Lane lane : {Lane::main, Lane::side, Lane::sums, Lane::copies}) drained(lanes_.of(lane));
  }
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  void enqueue() {
    if (enqueued_ > 0 && !misuse_.change_batch_early) inputs_.taken().synchronize();
    draw_batch();
    Flight& flight = flights_[enqueued_ % kInFlight];
    flight.call = inputs_.enter({.pixels = pixels_.span(),
                                 .labels = labels_.span(),
                                 .gradient_scale = 0.25f,
                                 .learning_rate = 0.05,
                                 .step = static_cast<int64_t>(enqueued_)},
                                static_cast<int64_t>(image_bytes_));
    StepReport& report = misuse_.report_on_the_heap ? heap_report_ : reports_[enqueued_ % kInFlight];
    report = {};
    flight.call.report = &report;
    step_->enqueue(flight.call);
    if (!misuse_.forget_to_leave) inputs_.leave();
    main().record(*flight.end);
    ++enqueued_;
  }
  StepReport collect() {
    const size_t number = collected_++ % kInFlight;
    flights_[number].end->synchronize();
    return reports_[number];
  }
  /// Three steps. The losses, then the bytes of all states.
  std::vector<std::byte> run() {
    std::vector<double> losses;
    enqueue();
    for (int step = 1; step < 3; ++step) {
      enqueue();
      losses.push_back(collect().loss_sum);
    }
    losses.push_back(collect().loss_sum);
    std::vector<std::byte> all(std::as_bytes(std::span(losses)).begin(), std::as_bytes(std::span(losses)).end());
    for (const Value& value : step_->compiled().program.values) {
      if (value.storage != Storage::state) continue;
      const auto bytes = read_bytes(main(), states_.address(value.state), states_.bytes(value.state));
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }

  /// Of the last step, as it is now.
  const StepReport& report() const { return reports_[(enqueued_ - 1) % kInFlight]; }
  const States& states() const { return states_; }
  const LaneStreams& lanes() const { return lanes_; }
  Event& end() { return *flights_[(enqueued_ - 1) % kInFlight].end; }
  void free_slab() { slab_ = {}; }

 private:
  struct Flight {
    StepCall call;
    std::unique_ptr<Event> end;
  };
  static size_t image_bytes(const Graph& graph) { return static_cast<size_t>(graph.image_size * graph.image_size * 3); }
  /// Waits for what is still enqueued. If that fails, the test knows it already.
  static bool drained(Stream& stream) {
    try {
      stream.synchronize();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }
  Stream& main() const { return lanes_.of(Lane::main); }
  // Another batch for each step, in the same memory.
  void draw_batch() {
    RandomStream random(1, RandomUse::test, enqueued_, 0);
    for (uint8_t& pixel : pixels_) pixel = static_cast<uint8_t>(random.below(256));
    for (int32_t& label : labels_) label = static_cast<int32_t>(random.below(static_cast<uint32_t>(classes_)));
  }

  Misuse misuse_;
  Device& device_;
  Doubling sums_;
  LaneStreams lanes_;
  States states_;
  InputSlots inputs_;
  HostArray<StepReport> reports_;
  StepReport heap_report_;
  HostArray<uint8_t> pixels_;
  HostArray<int32_t> labels_;
  size_t image_bytes_;
  int64_t classes_;
  DeviceMemory slab_;
  std::array<Flight, kInFlight> flights_;
  std::unique_ptr<BoundProgram> step_;
  size_t enqueued_ = 0, collected_ = 0;
};

/// The step of such a training: two ranks, several sums.
inline CompiledProgram training_step_of(const Graph& graph, Backend& backend, bool recompute, bool side_lane) {
  StepOptions options;
  options.forward.batch = Training::kBatch;
  std::fill(std::begin(options.forward.scale), std::end(options.forward.scale), 1.0f / 64);
  options.recompute = recompute;
  options.ranks = 2;
  options.bucket_bytes = 4 * graph.parameter_count / 5;
  constexpr std::array<Rewrite, 2> kRewrites = {move_average_pools, merge_siblings};
  Program refresh;
  return compile(training_step(graph, options, kRewrites), backend, refresh, side_lane);
}

/// What the reference makes of it, with the same rewrites and one node after the other.
inline std::vector<std::byte> truth(const Graph& graph, bool recompute) {
  const auto reference = packhorse::make_backend("reference", {});
  return Training(graph, *reference, training_step_of(graph, *reference, recompute, false)).run();
}

}  // namespace packhorse::toy
