// The toy's backend: the reference's kernels on a device that has nothing in common with the host (toy_device.h).
//
// A node takes two turns, and nodes of other lanes may run between them: it copies what it reads and computes, then it
// writes its results. So nodes that run at the same time do so here. What a node may take for granted is checked:
// everything that it reads was written, by the value that it names; it writes its results, all of them and nothing
// else; it writes over an operand only with permission; its workspace is its own while it runs; it keeps nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "ops/backends.h"
#include "ops/nodes.h"
#include "ops/rewrites.h"
#include "ops/toy_device.h"
#include "ops/toy_room.h"
#include "ops/wrapped_backend.h"

namespace packhorse::toy {

/// A node that is bound: what it does in its two turns.
class BoundNode {
 public:
  /// `summed`: the sums over ranks run; else their results are what was there before.
  BoundNode(const Site& site, Backend& kernels, ToyDevice& device, Remains& remains, bool summed)
      : summed_(summed),
        program_(site.program()),
        node_(site.node()),
        stream_(site.stream()),
        kernels_(kernels),
        device_(device),
        remains_(remains) {
    for (const Operand& read : node_.reads) reads_.push_back(access(site, read));
    for (const Operand& result : node_.writes)
      (result.role == kWorkspace ? workspaces_ : results_).push_back(access(site, result));
    for (const Access& result : results_)
      for (const Access& read : reads_)
        if (result.rows.overlaps(read.rows)) check_permission(result, read);
  }

  static constexpr std::string_view kWorkspace = "workspace";

  void run(const StepCall& call) const {
    std::vector<Access> reads = reads_;
    for (Access& read : reads)
      if (!read.rows.base) read.rows = given(*read.operand, call);
    const auto room = std::make_shared<Room>(rows_of(reads, results_));
    for (const Access& read : reads) {
      check_written(read);
      room->load(device_.memory(), read.rows);
    }
    for (const Access& result : results_)
      if (!in_place(result)) fill(result, kPoison, kNobody);
    for (const Access& workspace : workspaces_) fill(workspace, kPoison, *workspace.mark);
    const auto before = std::make_unique<const Room>(*room);  // compute() changes it
    compute(*room, reads, call);
    if (room->differs(*before, rows_of({}, results_))) throw Fault("it writes outside its results", name());
    device_.continue_with([this, room] { finish(*room); });
  }

 private:
  struct Access {
    const Operand* operand = nullptr;
    Rows rows;
    std::optional<Mark> mark{};  // of its bytes when they are written; none: it is older than the program
    size_t element = 1;
  };

  Access access(const Site& site, const Operand& operand) const {
    const Value& value = program_.value(operand);
    const auto size = static_cast<int64_t>(size_of(value.dtype));
    const View view = site.view(operand.role);
    Access result{.operand = &operand, .rows = {}, .mark = mark_of(operand.value), .element = size_of(value.dtype)};
    if (view.data == nullptr) return result;  // comes with the call
    const int64_t first = operand.first * size, pixels = value.shape.pixels();
    result.rows.base = DeviceAddress(reinterpret_cast<uintptr_t>(view.data)) + -first;
    if (operand.count == value.shape.c)
      result.rows.length = pixels * operand.count * size;
    else
      result.rows = {result.rows.base, pixels, value.shape.c * size, first, operand.count * size};
    return result;
  }

  // A sum over ranks is written by its stream.
  std::optional<Mark> mark_of(int value) const {
    for (const Node& node : program_.nodes)
      for (const Operand& result : node.writes)
        if (result.value == value && !node.is(kSum)) return kFirstValue + static_cast<Mark>(value);
    const bool sum = summed_ && program_.first_version(program_.value(value).state) != value;
    return sum ? std::optional(kGiven) : std::nullopt;
  }

  /// The bytes of what comes with the call: of the images that are there.
  Rows given(const Operand& operand, const StepCall& call) const {
    const Value& value = program_.value(operand);
    auto bytes = static_cast<int64_t>(value.bytes());
    const bool pixels = operand.role == "pixels";
    if (pixels) bytes = bytes / value.shape.n * call.images;
    return {.base = pixels ? call.pixels : call.labels, .length = bytes};
  }

  static std::vector<Rows> rows_of(const std::vector<Access>& reads, const std::vector<Access>& results) {
    std::vector<Rows> rows;
    for (const auto* side : {&reads, &results})
      for (const Access& access : *side) rows.push_back(access.rows);
    return rows;
  }

  void check_permission(const Access& result, const Access& read) const {
    for (const InPlace& permission : node_.in_place)
      if (permission.result == result.operand->role && permission.operand == read.operand->role) return;
    throw Fault(fmt::format("it writes '{}' over '{}' without permission", result.operand->role, read.operand->role),
                name());
  }
  bool in_place(const Access& result) const {
    return std::any_of(reads_.begin(), reads_.end(),
                       [&](const Access& read) { return read.rows.base && result.rows.overlaps(read.rows); });
  }

  void check_written(const Access& read) const {
    each_row(read, [&](const Bytes& bytes) {
      for (const Mark mark : bytes.marks)
        if (mark == kNobody || (read.mark && mark != *read.mark)) refuse(read, mark);
    });
  }
  [[noreturn]] void refuse(const Access& read, Mark mark) const {
    const std::string& value = program_.value(*read.operand).name;
    if (mark == kNobody) throw Fault(fmt::format("it reads bytes of '{}' that nobody wrote", value), name());
    const std::string owner =
        mark == kGiven ? "the host" : "'" + program_.value(static_cast<int>(mark - kFirstValue)).name + "'";
    throw Fault(fmt::format("it reads bytes of '{}' that belong to {}", value, owner), name());
  }

  void compute(Room& room, const std::vector<Access>& reads, const StepCall& call) const {
    std::map<int, DeviceAddress> places;
    for (const auto* side : {&reads, &results_})
      for (const Access& access : *side)
        places[access.operand->value] = host_address(room.at(access.rows.begin())) + -access.rows.first;
    StepCall inner = call;
    for (const Access& read : reads) {
      if (program_.value(*read.operand).storage != Storage::input) continue;
      (read.operand->role == "pixels" ? inner.pixels : inner.labels) = places[read.operand->value];
    }
    const Site::Address where = [&](int value) { return places.at(value); };
    kernels_.bind(Site(program_, node_, where, stream_))(inner);
  }

  void finish(Room& room) const {
    for (const Access& workspace : workspaces_)
      each_row(workspace, [&](const Bytes& bytes) {
        for (const Mark mark : bytes.marks)
          if (mark != *workspace.mark) throw Fault("somebody wrote to its workspace while it ran", name());
      });
    for (const Access& result : results_) store(room, result);
    remains_.add(room);
  }
  // What still is poison was not written. No kernel computes that number.
  void store(Room& room, const Access& result) const {
    result.rows.each_row([&](DeviceAddress row) {
      const Bytes bytes = device_.memory().at(row, static_cast<size_t>(result.rows.length));
      std::copy_n(room.at(row), bytes.data.size(), bytes.data.begin());
      for (size_t i = 0; i < bytes.data.size(); i += result.element) {
        const auto element = bytes.data.subspan(i, result.element);
        const bool written = std::any_of(element.begin(), element.end(), [](std::byte b) { return b != kPoison; });
        std::fill_n(bytes.marks.begin() + static_cast<int64_t>(i), result.element, written ? *result.mark : kNobody);
      }
    });
  }

  template <typename Visit>
  void each_row(const Access& access, const Visit& visit) const {
    access.rows.each_row(
        [&](DeviceAddress row) { visit(device_.memory().at(row, static_cast<size_t>(access.rows.length))); });
  }
  void fill(const Access& access, std::byte value, Mark mark) const {
    each_row(access, [&](const Bytes& bytes) {
      std::fill(bytes.data.begin(), bytes.data.end(), value);
      std::fill(bytes.marks.begin(), bytes.marks.end(), mark);
    });
  }
  std::string name() const { return fmt::format("{}: {} {}", program_.name, node_.kind->name, node_.name); }

  bool summed_;
  const Program& program_;
  const Node& node_;
  Stream& stream_;
  Backend& kernels_;
  ToyDevice& device_;
  Remains& remains_;
  std::vector<Access> reads_, results_, workspaces_;
};

class ToyBackend : public WrappedBackend {
 public:
  /// `kernels`: a backend of the host that needs no workspaces and no layouts of its own.
  /// `summed`: sums over ranks run beside its programs.
  explicit ToyBackend(std::unique_ptr<Backend> kernels, ToyDevice& device = toy_device(), bool summed = false)
      : WrappedBackend(std::move(kernels)), device_(device), summed_(summed) {}

  std::string name() const override { return "toy"; }
  Device& device() const override { return device_; }
  bool prefers_side_lane() const override { return true; }
  std::vector<Rewrite> algebraic() const override { return {move_average_pools, merge_siblings}; }
  // The kernels need none: it is there to see that nobody else writes to it.
  uint64_t workspace(const Program& /*program*/, const Node& /*node*/) override { return 64; }
  // Nothing that a run leaves in the slab is there in the next one.
  void begin(const StepCall& call, Stream& main) override {
    if (call.report != nullptr && device_.pinned().block_with(call.report) == 0)
      throw Fault("a report lies in memory that the device cannot write to");
    main.enqueue([this] {
      remains_.check();
      if (slab_) device_.memory().forget(slab_);
    });
  }
  Run bind(const Site& site) override {
    for (const auto* side : {&site.node().reads, &site.node().writes})
      for (const Operand& operand : *side)
        if (site.program().value(operand).storage == Storage::slab)
          slab_ = DeviceAddress(reinterpret_cast<uintptr_t>(site.view(operand.role).data));
    const auto node = std::make_shared<const BoundNode>(site, inner(), device_, remains_, summed_);
    return [node](const StepCall& call) { node->run(call); };
  }

 private:
  ToyDevice& device_;
  bool summed_;
  Remains remains_;
  DeviceAddress slab_;  // somewhere in it
};

inline std::vector<Dtype> types() { return {Dtype::f32}; }
inline std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  return std::make_unique<ToyBackend>(packhorse::make_backend("reference", options));
}

}  // namespace packhorse::toy
