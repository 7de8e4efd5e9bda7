// The optimizer, and all updates of a step in one launch: hundreds of small ones would take longer than the numbers do.
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "ops/cuda/launch.h"
#include "ops/cuda/updates.cuh"
#include "ops/fusions.h"

namespace packhorse::cuda {

namespace {

SgdArrays sgd_arrays(const Site& site) {
  return {site.array<float>("weight"),     site.array<float>("gradient"),     site.array<float>("momentum"),
          site.array<float>("new_weight"), site.array<float>("new_momentum"), site.array<int32_t>("finite"),
          site.array<float>("loss_scale")};
}

/// The tables that the launch reads, in one block of the device's memory.
class Tables {
 public:
  template <typename T>
  size_t add(const std::vector<T>& table) {
    const size_t at = (bytes_.size() + 15) / 16 * 16;
    bytes_.resize(at + table.size() * sizeof(T));
    if (!table.empty()) std::memcpy(&bytes_[at], table.data(), table.size() * sizeof(T));
    return at;
  }
  /// To the device; waits for it.
  std::shared_ptr<DeviceMemory> write(Device& device, Stream& stream) const {
    auto memory = std::make_shared<DeviceMemory>(device, bytes_.size());
    stream.write(memory->address(), std::as_bytes(std::span(bytes_)));
    stream.synchronize();
    return memory;
  }

 private:
  std::vector<char> bytes_;
};

template <typename Segment>
void append_parts(std::vector<UpdatePart>& parts, const std::vector<Segment>& segments) {
  for (unsigned s = 0; s < segments.size(); ++s)
    for (unsigned first = 0; first < segments[s].count; first += kUpdatePart) parts.push_back({s, first});
}

LaidOutCopy::Type type_of(Dtype dtype) {
  if (dtype == Dtype::f16) return LaidOutCopy::Type::f16;
  return dtype == Dtype::bf16 ? LaidOutCopy::Type::bf16 : LaidOutCopy::Type::f32;
}

/// The copy that has these weights.
LaidOutCopy copy_of(const Site& site, const Operand& weights) {
  for (const Node& inner : site.node().body) {
    if (!inner.is(kCopy)) continue;
    const Operand& master = inner.at("src");
    if (weights.first < master.first || weights.first >= master.first + master.count) continue;
    const View dst = site.of(inner).view("dst");
    return {.to = dst.data,
            .first = static_cast<unsigned>(weights.first - master.first),
            .channels = static_cast<unsigned>(inner.number("channels")),
            .taps = static_cast<unsigned>(dst.shape.h * dst.shape.w),
            .padded = static_cast<unsigned>(dst.shape.c),
            .type = type_of(dst.dtype)};
  }
  return {};
}

bool begins_at_vectors(const SgdArrays& of) {
  for (const float* at : {of.weight, of.gradient, of.momentum})
    if (reinterpret_cast<uintptr_t>(at) % 16 != 0) return false;
  return true;
}

}  // namespace

Run bind_running_statistics(Context& /*context*/, const Site& site) {
  return [stream = stream_of(site), batch = site.array<float>("batch"), running = site.array<float>("running"),
          next = site.array<float>("new_running"), finite = site.array<int32_t>("finite"), count = site.count("batch"),
          momentum = site.node().number("momentum"), share = site.node().number("share")](const StepCall&) {
    running_statistics<<<blocks_for(count), kThreads, 0, stream>>>(batch, running, next, finite, count, momentum,
                                                                   share);
    launched("running_statistics");
  };
}

Run bind_sgd(Context& context, const Site& site) {
  return [arrays = sgd_arrays(site), stream = stream_of(site), call = context.call(), count = site.count("weight"),
          momentum = static_cast<float>(site.node().number("momentum")),
          decay = static_cast<float>(site.node().number("decay"))](const StepCall&) {
    sgd<<<few_blocks_for(count), kThreads, 0, stream>>>(call, arrays, count, momentum, decay);
    launched("sgd");
  };
}

bool supports_updates(const Program& program, const Node& node) {
  std::vector<std::pair<int64_t, int64_t>> copied;  // ranges of the weights
  for (const Node& inner : node.body) {
    if (inner.is(kSgd) || inner.is(kRunningStatistics)) continue;
    if (!inner.is(kCopy) || program.value(inner.at("dst")).layout.empty()) return false;
    const Operand& master = inner.at("src");
    for (const auto& [first, end] : copied)
      if (master.first < end && first < master.first + master.count) return false;  // a second copy of the same
    copied.emplace_back(master.first, master.first + master.count);
  }
  return true;
}

Run bind_updates(Context& context, const Site& site) {
  std::vector<ParameterSegment> parameters;
  std::vector<StatisticSegment> statistics;
  for (const Node& inner : site.node().body) {
    const Site of = site.of(inner);
    if (inner.is(kSgd)) {
      const SgdArrays arrays = sgd_arrays(of);
      parameters.push_back({.arrays = arrays,
                            .copy = copy_of(site, inner.at("weight")),
                            .count = static_cast<unsigned>(of.count("weight")),
                            .momentum = static_cast<float>(inner.number("momentum")),
                            .decay = static_cast<float>(inner.number("decay")),
                            .vectors = begins_at_vectors(arrays)});
    } else if (inner.is(kRunningStatistics)) {
      statistics.push_back({.batch = of.array<float>("batch"),
                            .running = of.array<float>("running"),
                            .next = of.array<float>("new_running"),
                            .count = static_cast<unsigned>(of.count("batch")),
                            .momentum = inner.number("momentum"),
                            .share = inner.number("share")});
    }
  }
  std::vector<UpdatePart> parts;
  append_parts(parts, parameters);
  const auto parameter_parts = static_cast<unsigned>(parts.size());
  append_parts(parts, statistics);
  Tables tables;
  const size_t at_parts = tables.add(parts), at_parameters = tables.add(parameters),
               at_statistics = tables.add(statistics);
  const std::shared_ptr<DeviceMemory> memory = tables.write(context.device(), site.stream());
  const std::byte* const base = memory->address().as<std::byte>();
  return [=, stream = stream_of(site), call = context.call(), finite = site.array<int32_t>("finite"),
          blocks = static_cast<unsigned>(parts.size())](const StepCall&) {
    update<<<blocks, kUpdateThreads, 0, stream>>>(
        call, reinterpret_cast<const UpdatePart*>(base + at_parts),
        reinterpret_cast<const ParameterSegment*>(base + at_parameters), parameter_parts,
        reinterpret_cast<const StatisticSegment*>(base + at_statistics), finite);
    launched("update");
    (void)memory;  // the tables live as long as the launch is repeated
  };
}

}  // namespace packhorse::cuda
