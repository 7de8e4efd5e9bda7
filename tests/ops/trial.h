// What the tests of nodes share: the backends and types that each test runs on, the rounding error of each type, and
// Trial, a small program whose values a test fills and reads.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/philox.h"
#include "ops/backends.h"
#include "ops/backward.h"
#include "ops/bound_program.h"
#include "ops/compile.h"
#include "ops/device_bytes.h"
#include "ops/input_slots.h"
#include "ops/nodes.h"

namespace packhorse {

struct BackendCase {
  std::string backend;
  Dtype dtype = Dtype::f32;
};

inline std::ostream& operator<<(std::ostream& out, const BackendCase& c) {
  return out << c.backend << "_" << name_of(c.dtype);
}

/// Every backend with every type of activations that it can compute in on this machine.
inline std::vector<BackendCase> backend_cases() {
  std::vector<BackendCase> cases;
  for (const std::string& backend : backend_names())
    for (const Dtype dtype : backend_types(backend)) cases.push_back({backend, dtype});
  return cases;
}

/// Those whose memory a test can look into while they run.
inline std::vector<BackendCase> host_backend_cases() {
  std::vector<BackendCase> cases = backend_cases();
  std::erase_if(cases,
                [](const BackendCase& c) { return !make_backend(c.backend, {.dtype = c.dtype})->device().is_host(); });
  return cases;
}

/// True if two runs may differ in their bits unless they are asked not to: on a GPU, where some of the library's plans
/// add in any order. A stand-in's plans do not.
inline bool may_differ(const BackendCase& c) {
  const auto backend = make_backend(c.backend, {.dtype = c.dtype});
  return !backend->device().is_host() && backend->device().name().find("stand-in") == std::string::npos;
}

inline std::string case_name(const testing::TestParamInfo<BackendCase>& info) {
  return info.param.backend + "_" + name_of(info.param.dtype);
}

/// What the others are checked against.
inline const BackendCase kReference{"reference", Dtype::f32};

/// The largest relative rounding error: half the distance between neighbouring numbers at 1.
inline double rounding(Dtype dtype) { return dtype == Dtype::f32 ? 0x1p-24 : dtype == Dtype::f16 ? 0x1p-11 : 0x1p-8; }

/// The largest absolute rounding error of numbers near 0, where f16 has no smaller ones.
inline double smallest_rounding(Dtype dtype) { return dtype == Dtype::f16 ? 0x1p-25 : 0; }

/// Random numbers that bf16 represents exactly, so that every backend starts from the same values.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : random_(seed, RandomUse::test, 0, 0) {}
  float next(float low = -1, float high = 1) { return static_cast<float>(Bf16(random_.uniform(low, high))); }
  std::vector<double> vector(int64_t count, float low = -1, float high = 1) {
    std::vector<double> values(static_cast<size_t>(count));
    for (double& value : values) value = next(low, high);
    return values;
  }

 private:
  RandomStream random_;
};

/// A small program. Each value is a state of its own, so that it can be filled before a run and read after it:
///
///     Trial t(GetParam());
///     const Operand src = t.value("src", {2, 5, 5, 16}), dst = t.value("dst", {2, 5, 5, 16});
///     t.set(src, numbers);
///     t.add({.kind = &kMaxPool, .name = "pool", .reads = {src}, .writes = {dst}, .numbers = {{"kernel", 3}, ...}});
///     t.run();
///     t.get(dst)
///
/// The role of an operand is the name of its value; as("role", operand) gives another one.
class Trial {
 public:
  explicit Trial(const BackendCase& c, int threads = 2)
      : dtype_(c.dtype),
        backend_(make_backend(c.backend, {.dtype = c.dtype, .threads = threads})),
        device_(backend_->device()),
        lanes_(device_, false, nullptr),
        states_(device_),
        report_(device_, 1) {
    program_.name = "trial";
  }

  /// An activation. With a gap, its channels lie in a wider value, with others before and behind them.
  Operand value(const std::string& name, Shape shape, int64_t gap = 0) { return add_value(name, shape, dtype_, gap); }
  /// An array of channels; f64 for sums over pixels, u8 for argmax.
  Operand array(const std::string& name, int64_t count, Dtype dtype = Dtype::f32) {
    return add_value(name, {1, 1, 1, count}, dtype, 0);
  }
  /// (N, C) f32: features, logits.
  Operand matrix(const std::string& name, int64_t rows, int64_t columns) {
    return add_value(name, {rows, 1, 1, columns}, Dtype::f32, 0);
  }
  /// A u8 value of an activation's shape.
  Operand places(const std::string& name, Shape shape) { return add_value(name, shape, Dtype::u8, 0); }
  /// The weights of the network: what backends may read copies of. Only one in a trial.
  Operand weights(int64_t count) { return as("weight", add_value(kWeights, {1, 1, 1, count}, Dtype::f32, 0)); }
  /// A new version of the value, at the same bytes.
  Operand over(const Operand& old, const std::string& role) {
    return {role, program_.next_version(program_.value(old).state), old.first, old.count};
  }
  /// What comes with the call: pixels, labels.
  Operand input(const std::string& name, Shape shape, Dtype dtype) {
    return program_.whole(program_.add({.name = name, .shape = shape, .dtype = dtype, .storage = Storage::input}),
                          name);
  }
  /// A value of which nothing is known after the run: the backend may do without it.
  Operand inner(const std::string& name, Shape shape, Dtype dtype) {
    return program_.whole(program_.add({.name = name, .shape = shape, .dtype = dtype}), name);
  }

  void add(Node node) { program_.nodes.push_back(std::move(node)); }
  /// Changes the nodes that were added so far, before the first run.
  void rewrite(const std::function<void(Program&)>& change) { change(program_); }

  void set(const Operand& operand, const std::vector<double>& numbers) {
    ASSERT_EQ(static_cast<int64_t>(numbers.size()), count(operand));
    states_.add(program_);
    std::vector<std::byte> bytes = bytes_of(operand);
    for (size_t i = 0; i < numbers.size(); ++i) store(bytes, operand, static_cast<int64_t>(i), numbers[i]);
    write_bytes(main(), states_.address(program_.value(operand).state), bytes);
    seen_.clear();
  }
  void set(const Operand& operand, double number) {
    set(operand, std::vector<double>(static_cast<size_t>(count(operand)), number));
  }
  std::vector<double> get(const Operand& operand) const {
    std::vector<double> numbers(static_cast<size_t>(count(operand)));
    const std::vector<std::byte>& bytes = bytes_of(operand);
    for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = load(bytes, operand, static_cast<int64_t>(i));
    return numbers;
  }
  double get(const Operand& operand, int64_t i) const { return load(bytes_of(operand), operand, i); }
  int64_t count(const Operand& operand) const { return program_.shape(operand).count(); }

  /// Runs the nodes; the first time it compiles them. Copies of the weights are made anew before.
  StepReport run(const StepInput& input = {}) {
    if (bound_ == nullptr) bind();
    report_[0] = {};
    StepCall call = inputs_->enter(input, image_bytes());
    call.report = &report_[0];
    refresh_->enqueue(call);
    bound_->enqueue(call);
    inputs_->leave();
    main().synchronize();
    seen_.clear();
    return report_[0];
  }
  /// True if nobody wrote to the channels around the operand's.
  bool gaps_untouched(const Operand& operand) const {
    const Value& whole = program_.value(operand);
    const auto size = static_cast<int64_t>(size_of(whole.dtype)), row = whole.shape.c * size;
    const std::vector<std::byte>& bytes = bytes_of(operand);
    for (int64_t p = 0; p < whole.shape.pixels(); ++p)
      for (int64_t b = 0; b < row; ++b)
        if ((b < operand.first * size || b >= (operand.first + operand.count) * size) &&
            bytes[static_cast<size_t>(p * row + b)] != kFill)
          return false;
    return true;
  }
  /// The nodes that the backend made of the program, after the first run.
  const Program& compiled() const { return bound_->compiled().program; }
  const Program& program() const { return program_; }
  Dtype dtype() const { return dtype_; }
  Backend& backend() { return *backend_; }

 private:
  static constexpr std::byte kFill{0x3b};  // a small number in every type

  Operand add_value(const std::string& name, Shape shape, Dtype dtype, int64_t gap) {
    Shape whole = shape;
    whole.c += 2 * gap;
    const int number =
        program_.add({.name = name, .shape = whole, .dtype = dtype, .storage = Storage::state, .state = name});
    states_.add(program_);
    fill_bytes(main(), states_.address(name), states_.bytes(name), kFill);
    return {name, number, gap, shape.c};
  }
  int64_t place(const Operand& operand, int64_t i) const {
    return i / operand.count * program_.value(operand).shape.c + operand.first + i % operand.count;
  }
  const std::vector<std::byte>& bytes_of(const Operand& operand) const {
    const std::string& state = program_.value(operand).state;
    auto found = seen_.find(state);
    if (found == seen_.end())
      found = seen_.emplace(state, read_bytes(main(), states_.address(state), states_.bytes(state))).first;
    return found->second;
  }
  template <typename T>
  static T element(const std::vector<std::byte>& bytes, int64_t i) {
    T value;
    std::memcpy(&value, &bytes[static_cast<size_t>(i) * sizeof(T)], sizeof(T));
    return value;
  }
  template <typename T>
  static void put(std::vector<std::byte>& bytes, int64_t i, T value) {
    std::memcpy(&bytes[static_cast<size_t>(i) * sizeof(T)], &value, sizeof(T));
  }
  double load(const std::vector<std::byte>& bytes, const Operand& operand, int64_t i) const {
    const int64_t at = place(operand, i);
    switch (program_.value(operand).dtype) {
      case Dtype::f32:
        return element<float>(bytes, at);
      case Dtype::bf16:
        return static_cast<float>(element<Bf16>(bytes, at));
      case Dtype::f16:
        return static_cast<float>(element<F16>(bytes, at));
      case Dtype::f64:
        return element<double>(bytes, at);
      case Dtype::i32:
        return element<int32_t>(bytes, at);
      case Dtype::u8:
        return element<uint8_t>(bytes, at);
    }
    return 0;
  }
  void store(std::vector<std::byte>& bytes, const Operand& operand, int64_t i, double number) const {
    const int64_t at = place(operand, i);
    switch (program_.value(operand).dtype) {
      case Dtype::f32:
        return put(bytes, at, static_cast<float>(number));
      case Dtype::bf16:
        return put(bytes, at, Bf16(static_cast<float>(number)));
      case Dtype::f16:
        return put(bytes, at, F16(static_cast<float>(number)));
      case Dtype::f64:
        return put(bytes, at, number);
      case Dtype::i32:
        return put(bytes, at, static_cast<int32_t>(number));
      case Dtype::u8:
        return put(bytes, at, static_cast<uint8_t>(number));
    }
  }
  /// Of the value that comes with the call.
  const Value* input_named(const std::string& name) const {
    for (const Value& value : program_.values)
      if (value.storage == Storage::input && value.name == name) return &value;
    return nullptr;
  }
  int64_t image_bytes() const {
    const Value* pixels = input_named("pixels");
    return pixels == nullptr ? 1 : pixels->shape.count() / pixels->shape.n;
  }
  void bind() {
    Program copies{.name = "refresh"}, none;
    CompiledProgram compiled = compile(program_, *backend_, copies);
    CompiledProgram refresh = compile(std::move(copies), *backend_, none);
    uint64_t bytes = 0;
    for (const CompiledProgram* one : {&compiled, &refresh}) {
      states_.add(one->program);
      bytes = std::max(bytes, one->plan.bytes);
    }
    slab_ = DeviceMemory(device_, bytes);
    fill_bytes(main(), slab_.address(), bytes, kFill);
    bound_ = std::make_unique<BoundProgram>(std::move(compiled), *backend_, states_, slab_.address(), lanes_, false);
    refresh_ = std::make_unique<BoundProgram>(std::move(refresh), *backend_, states_, slab_.address(), lanes_, false);
    const Value *pixels = input_named("pixels"), *labels = input_named("labels");
    inputs_ = std::make_unique<InputSlots>(device_, lanes_, 1,
                                           pixels == nullptr ? 0 : static_cast<size_t>(pixels->shape.count()),
                                           labels == nullptr ? 0 : static_cast<size_t>(labels->shape.count()));
  }
  Stream& main() const { return lanes_.of(Lane::main); }

  Dtype dtype_;
  std::unique_ptr<Backend> backend_;
  Device& device_;
  LaneStreams lanes_;
  States states_;
  Program program_;
  DeviceMemory slab_;
  HostArray<StepReport> report_;
  std::unique_ptr<InputSlots> inputs_;
  std::unique_ptr<BoundProgram> bound_, refresh_;
  mutable std::map<std::string, std::vector<std::byte>> seen_;  // states as they were read, until something runs
};

/// For operands in the list of a node.
inline Operand filled(Trial& t, const Operand& operand, const std::vector<double>& values) {
  t.set(operand, values);
  return operand;
}

}  // namespace packhorse
