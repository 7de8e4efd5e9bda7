// What a backend is: it rewrites a program to its liking, and binds each node to memory.
//
// Rule: a node is bound once, before the first step. Running it allocates nothing and keeps nothing: all that outlives
// the run is in the node's results.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/host.h"
#include "ops/choices.h"
#include "ops/program.h"
#include "ops/rewrites.h"
#include "ops/step_report.h"

namespace packhorse {

/// What the nodes of a run are given. It stays as it is until the run ends.
struct StepCall {
  DeviceAddress pixels{};    ///< (images, S, S, 3), 8-bit RGB
  DeviceAddress labels{};    ///< (N) i32; an image with a label < 0 is not counted
  int64_t images = 0;        ///< with pixels; inference takes fewer than N too
  float gradient_scale = 1;  ///< the gradient is d(sum of losses) * gradient_scale
  double learning_rate = 0;
  int64_t step = 0;              ///< steps before this one: with a seed, it addresses random numbers
  StepReport* report = nullptr;  ///< in HostMemory
};

/// A node bound to its memory: makes the device run it (at once, or as work of the site's stream).
using Run = std::function<void(const StepCall& call)>;

/// A node, where its operands lie, and the stream that it runs on.
class Site {
 public:
  using Address = std::function<DeviceAddress(int value)>;
  /// `address`: where a value begins; nowhere for what comes with the call.
  Site(const Program& program, const Node& node, const Address& address, Stream& stream)
      : program_(program), node_(node), address_(address), stream_(stream) {}

  const Program& program() const { return program_; }
  const Node& node() const { return node_; }
  const std::string& name() const { return node_.name; }
  /// For a kernel of a fused node, whose operands' roles are those of its body's nodes.
  Site of(const Node& inner) const { return {program_, inner, address_, stream_}; }
  Stream& stream() const { return stream_; }

  bool has(std::string_view role) const { return node_.find(role) != nullptr; }
  bool flag(const std::string& number) const { return node_.number(number) > 0; }
  int integer(const std::string& number) const { return static_cast<int>(node_.number(number)); }
  // Pointers as the device's own code takes them: the host follows them only where it is the device.

  /// Without this role: a view without memory.
  View view(std::string_view role) const;
  /// The array that a role names; null without this role.
  template <typename T>
  T* array(std::string_view role) const {
    return static_cast<T*>(view(role).data);
  }
  int64_t count(std::string_view role) const { return node_.at(role).count; }

 private:
  const Program& program_;
  const Node& node_;
  const Address& address_;
  Stream& stream_;
};

/// How a backend runs a kind of node. `workspace`: bytes that a run needs for itself; null: none.
template <typename Context>
struct Kernel {
  const NodeKind* kind = nullptr;
  Run (*bind)(Context& context, const Site& site) = nullptr;
  uint64_t (*workspace)(Context& context, const Program& program, const Node& node) = nullptr;
};

/// What a backend is made for.
struct BackendOptions {
  Dtype dtype = Dtype::f32;    ///< of activations
  int threads = 1;             ///< of a host
  bool training = true;        ///< false: inference only
  int device = 0;              ///< which of several
  bool deterministic = false;  ///< only ways to compute that give the same bits each time
  bool measure = false;        ///< takes the fastest way, where there are several and `choices` has none
  Choices choices{};           ///< made before; they hold
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;
  /// What it computes with on this machine, for the log: "cpu backend: kernels x86-64-v4, oneDNN 3.7.1 avx512_core".
  virtual std::string description() const { return name() + " backend"; }
  /// Where its kernels run. It outlives the backend.
  virtual Device& device() const { return host_device(); }
  /// True if its device is faster with work on the side lane.
  virtual bool prefers_side_lane() const { return false; }
  /// Those that the programs so far were made with.
  virtual Choices choices() const { return {}; }
  /// Whether these fused nodes, which are supported, take less time than the nodes that they would replace.
  virtual bool worth(const Program& /*program*/, const std::vector<Node>& /*fused*/,
                     const std::vector<Node>& /*plain*/) const {
    return true;
  }
  /// Called as work of each stream, at the start of each run.
  virtual void enter() {}
  /// Called before each run: what differs from call to call goes to where the kernels look for it. Nothing to do for
  /// kernels that read the call itself.
  virtual void begin(const StepCall& /*call*/, Stream& /*main*/) {}
  /// The algebraic rewrites that its kernels gain from.
  virtual std::vector<Rewrite> algebraic() const { return {}; }
  /// Fuses nodes, and lets them read copies of weights in other types and layouts. Copies are states; the nodes that
  /// make them are appended to `refresh`, which runs after weights were loaded, and to a program that changes the
  /// weights.
  virtual void rewrite(Program& program, Program& refresh) = 0;
  virtual bool supported(const Program& program, const Node& node) const = 0;
  /// Bytes of the workspace that a run of the node needs: it becomes a result of the node, "workspace".
  virtual uint64_t workspace(const Program& program, const Node& node) = 0;
  /// Program and node outlive the Run. Throws an Error for a node that is not supported.
  virtual Run bind(const Site& site) = 0;
};

/// True if only results of these roles are added to what was before.
bool addends_within(const Node& node, std::initializer_list<std::string_view> results);

/// A backend made of a table of kernels over a context of its own.
template <typename Context>
class TableBackend : public Backend {
 public:
  TableBackend(Context context, std::span<const Kernel<Context>> kernels)
      : context_(std::move(context)), kernels_(kernels.begin(), kernels.end()) {}

  /// One more kind of node, or another kernel for one; the last added counts.
  void add(const Kernel<Context>& kernel) { kernels_.insert(kernels_.begin(), kernel); }

  bool supported(const Program& /*program*/, const Node& node) const override { return find(node) != nullptr; }
  uint64_t workspace(const Program& program, const Node& node) override {
    const Kernel<Context>* kernel = find(node);
    return kernel == nullptr || kernel->workspace == nullptr ? 0 : kernel->workspace(context_, program, node);
  }
  Run bind(const Site& site) override {
    if (const Kernel<Context>* kernel = find(site.node())) return kernel->bind(context_, site);
    throw_unsupported(site.node());
  }

 protected:
  Context& context() { return context_; }
  const Context& context() const { return context_; }

 private:
  const Kernel<Context>* find(const Node& node) const {
    for (const Kernel<Context>& kernel : kernels_)
      if (kernel.kind == node.kind) return &kernel;
    return nullptr;
  }
  [[noreturn]] void throw_unsupported(const Node& node) const;

  Context context_;
  std::vector<Kernel<Context>> kernels_;
};

/// Throws the Error that names the node that a backend cannot run.
[[noreturn]] void refuse_node(const Backend& backend, const Node& node);

template <typename Context>
void TableBackend<Context>::throw_unsupported(const Node& node) const {
  refuse_node(*this, node);
}

}  // namespace packhorse
