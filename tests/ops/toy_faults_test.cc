// Faults that are planted, one a test, and whether the toy sees them: a Fault that names it, or wrong bits. N orders
// are drawn; where a fault shows only in some, the test says in how many. Without the fault, none shows anything.
#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "ops/nodes.h"
#include "ops/toy_training.h"

namespace packhorse {
namespace {

using toy::Misuse;
using toy::Training;

// Two branches, a residual, both pools: as small as it can be.
Graph tiny_network() {
  GraphBuilder net("tiny", 6, 3);
  int x = net.conv_bn({.name = "stem", .src = net.input(), .out = 8, .kernel = 3, .pad = 1});
  const int one = net.conv_bn({.name = "a/one", .src = x, .out = 8, .kernel = 3, .pad = 1});
  const int two = net.conv_bn({.name = "a/two", .src = x, .out = 8});
  const int peak = net.pool(LayerKind::max_pool, "a/max", x, 3, 1, 1);
  x = net.concat("a", {one, two, peak});
  const int y = net.conv_bn({.name = "r/conv", .src = x, .out = 24, .relu = false});
  net.classifier(net.add_relu("r", y, x));
  return net.finish();
}

/// The reference, where finish does something more.
class Tampered : public WrappedBackend {
 public:
  using More = std::function<void(const Site& site, const StepCall& call)>;
  explicit Tampered(More more) : WrappedBackend(make_backend("reference", {})), more_(std::move(more)) {}
  Run bind(const Site& site) override {
    Run right = inner().bind(site);
    if (!site.node().is(kFinish)) return right;
    return [this, site, right = std::move(right)](const StepCall& call) {
      right(call);
      more_(site, call);
    };
  }

 private:
  More more_;
};

std::function<std::unique_ptr<Backend>()> finish_with(Tampered::More more) {
  return [more = std::move(more)] { return std::make_unique<Tampered>(more); };
}

/// What a kernel keeps for each node: copied, it begins anew.
template <typename T>
class Kept {
 public:
  Kept() = default;
  Kept(const Kept& /*other*/) : Kept() {}
  Kept& operator=(const Kept&) = delete;
  std::map<std::string, T>* operator->() const { return kept_.get(); }

 private:
  std::unique_ptr<std::map<std::string, T>> kept_ = std::make_unique<std::map<std::string, T>>();
};

/// What a test breaks.
struct Plant {
  std::function<void(CompiledProgram&)> program{};
  std::function<std::unique_ptr<Backend>()> kernels{};
  int dropped_wait = -1, early_record = -1;
  bool forget_records = false;
  size_t slots = Training::kInFlight;
  Misuse misuse{};
};

class ToyFaults : public testing::Test {
 protected:
  static constexpr int kOrders = 20;

  static const Graph& graph() {
    static const Graph tiny = tiny_network();
    return tiny;
  }
  static const CompiledProgram& step() {
    static const CompiledProgram compiled = [] {
      const auto backend = toy::make_backend({});
      return toy::training_step_of(graph(), *backend, false, true);
    }();
    return compiled;
  }
  static const Node& node(int number) { return step().program.nodes[static_cast<size_t>(number)]; }

  /// A training on a device of its own.
  class Machine {
   public:
    Machine(const Plant& plant, uint64_t seed) : toy_(seed), device_(toy_) {
      device_.dropped_wait = plant.dropped_wait;
      device_.early_record = plant.early_record;
      device_.forget_records = plant.forget_records;
      backend_ = std::make_unique<toy::BrokenBackend>(plant.kernels ? plant.kernels() : make_backend("reference", {}),
                                                      toy_, device_);
      CompiledProgram broken = step();
      if (plant.program) plant.program(broken);
      training_ = std::make_unique<Training>(graph(), *backend_, std::move(broken), plant.slots, plant.misuse);
    }
    Training& training() { return *training_; }
    const toy::BrokenDevice& device() const { return device_; }

   private:
    toy::ToyDevice toy_;
    toy::BrokenDevice device_;
    std::unique_ptr<Backend> backend_;
    std::unique_ptr<Training> training_;
  };

  /// What three steps in one order show: nothing, or a fault.
  static std::string seen(const Plant& plant, uint64_t seed) {
    static const std::vector<std::byte> right = toy::truth(graph(), false);
    try {
      return Machine(plant, seed).training().run() == right ? "" : "wrong bits";
    } catch (const toy::Fault& fault) {
      return fault.what();
    }
  }
  /// What the orders show, and in how many. The output as XML has the number.
  static std::map<std::string, int> seen(const Plant& plant) {
    std::map<std::string, int> all;
    for (uint64_t seed = 0; seed < kOrders; ++seed)
      if (const std::string one = seen(plant, seed); !one.empty()) ++all[one];
    RecordProperty("orders_that_show_it", count(all));
    return all;
  }
  static int count(const std::map<std::string, int>& all, const std::string& words = "") {
    int sum = 0;
    for (const auto& [text, orders] : all) sum += text.find(words) == std::string::npos ? 0 : orders;
    return sum;
  }
  static std::string text(const std::map<std::string, int>& all) {
    std::string lines;
    for (const auto& [text, orders] : all) lines += fmt::format("{} of {}: {}\n", orders, kOrders, text);
    return lines;
  }
  /// True if one of twice as many orders shows it.
  static bool shows(const Plant& plant) {
    for (uint64_t seed = 0; seed < 2 * kOrders; ++seed)
      if (!seen(plant, seed).empty()) return true;
    return false;
  }
};

TEST_F(ToyFaults, NoneIsSeenWhereNoneIs) {
  EXPECT_EQ(text(seen(Plant{})), "");
  EXPECT_EQ(text(seen(Plant{.slots = 1})), "");
}

// ---- The order of nodes

// Each edge between lanes that no other implies, once missing, shows.
TEST_F(ToyFaults, AMissingEdge) {
  const std::vector<Edge>& edges = step().edges;
  int missing = 0;
  for (size_t e = 0; e < edges.size(); ++e) {
    if (node(edges[e].from).lane == node(edges[e].to).lane) continue;
    const auto without = [e](CompiledProgram& broken) {
      broken.edges.erase(broken.edges.begin() + static_cast<int64_t>(e));
    };
    CompiledProgram broken = step();
    without(broken);
    if (Order(broken.program.nodes.size(), broken.edges).before(edges[e].from, edges[e].to)) continue;
    ++missing;
    EXPECT_TRUE(shows({.program = without})) << node(edges[e].from).kind->name << " " << node(edges[e].from).name
                                             << " -> " << node(edges[e].to).kind->name << " " << node(edges[e].to).name;
  }
  RecordProperty("edges", missing);
  EXPECT_GE(missing, 10);
}

TEST_F(ToyFaults, ASumThatBeginsTooEarly) {
  const auto found = seen({.program = [](CompiledProgram& broken) {
    std::erase_if(broken.edges,
                  [](const Edge& edge) { return node(edge.to).is(kSum) && node(edge.from).lane != Lane::sums; });
  }});
  EXPECT_GE(count(found), kOrders / 2) << text(found);
}

// Of each wait and each record of a step, the second of three. Without some of them the others still give the order:
// where lanes begin and end, between lanes that a third one orders, and where an input slot is left, because the
// report of the run was collected.
TEST_F(ToyFaults, AWaitThatIsDroppedAndARecordThatComesTooEarly) {
  Machine whole({}, 0);
  whole.training().run();
  const int waits = whole.device().waits / 3, records = whole.device().records / 3;
  int dropped = 0, early = 0;
  for (int wait = waits; wait < 2 * waits; ++wait) dropped += shows({.dropped_wait = wait});
  for (int record = records; record < 2 * records; ++record) early += shows({.early_record = record});
  RecordProperty("dropped", dropped);
  RecordProperty("early", early);
  EXPECT_GE(dropped, 15) << "of " << waits;
  EXPECT_GE(early, 14) << "of " << records;
}

TEST_F(ToyFaults, ARecordThatNeverComes) {
  const auto found = seen({.forget_records = true});
  EXPECT_EQ(count(found, "deadlock"), kOrders) << text(found);
}

// ---- Kernels: finish, which makes arrays a and b from others

TEST_F(ToyFaults, AKernelThatKeepsAPointer) {
  const auto found = seen({.kernels = finish_with([first = Kept<float*>()](const Site& site, const StepCall&) {
                             float* const a = site.array<float>("a");
                             float* const kept = first->try_emplace(site.name(), a).first->second;
                             if (kept != a) kept[0] = 1;
                           })});
  EXPECT_EQ(count(found, "a kernel wrote to the memory of an earlier run"), kOrders) << text(found);
}

TEST_F(ToyFaults, AKernelThatKeepsAValue) {
  const auto found = seen({.kernels = finish_with([first = Kept<float>()](const Site& site, const StepCall&) {
                             float* const a = site.array<float>("a");
                             a[0] = first->try_emplace(site.name(), a[0]).first->second;
                           })});
  EXPECT_EQ(count(found, "wrong bits"), kOrders) << text(found);
}

TEST_F(ToyFaults, AResultThatIsNotWritten) {
  const auto found =
      seen({.kernels = finish_with([](const Site& site, const StepCall&) {
              std::memset(site.array<float>("b") + site.count("b") - 1, 0xff, sizeof(float));  // as it was
            })});
  EXPECT_EQ(count(found, "it reads bytes of 'stem/bn b' that nobody wrote"), kOrders) << text(found);
}

TEST_F(ToyFaults, AWriteOutsideTheResults) {
  for (const int64_t place : {int64_t{-1}, int64_t{8}}) {
    const auto found = seen({.kernels = finish_with([place](const Site& site, const StepCall&) {
                               if (site.name() == "stem/bn") site.array<float>("a")[place] = 1;  // of 8
                             })});
    EXPECT_EQ(count(found, "it writes outside its results"), kOrders) << text(found);
  }
}

TEST_F(ToyFaults, AWriteToAnOperand) {
  const auto found =
      seen({.kernels = finish_with([](const Site& site, const StepCall&) { site.array<float>("mean")[0] += 1; })});
  EXPECT_EQ(count(found, "it writes outside its results"), kOrders) << text(found);
}

// What a node does not name, its kernel does not find.
TEST_F(ToyFaults, AReadOutsideTheOperands) {
  const auto found = seen({.kernels = finish_with([](const Site& site, const StepCall&) {
                             site.array<float>("a")[0] += 0 * site.array<float>("mean")[-1];
                           })});
  EXPECT_EQ(count(found, "that nobody wrote"), kOrders) << text(found);
}

// ---- The memory plan

// The first result of a node that is not in place, where its first operand lies.
TEST_F(ToyFaults, AResultOverAnOperandWithoutPermission) {
  int moved = 0;
  for (const Node& one : step().program.nodes) {
    if (!one.is(kConvolution) || step().program.value(one.reads[0]).storage != Storage::slab) continue;
    const auto from = static_cast<size_t>(one.reads[0].value), to = static_cast<size_t>(one.writes[0].value);
    const auto found =
        seen({.program = [=](CompiledProgram& broken) { broken.plan.offset[to] = broken.plan.offset[from]; }});
    EXPECT_EQ(count(found, "without permission"), kOrders) << one.name << "\n" << text(found);
    ++moved;
  }
  EXPECT_GE(moved, 3);
}

// The shift of a batch norm over its factor, which somebody reads later.
TEST_F(ToyFaults, AWrongPlaceInTheMemoryPlan) {
  int moved = 0;
  for (const Node& one : step().program.nodes) {
    if (!one.is(kFinish)) continue;
    const auto kept = static_cast<size_t>(one.at("a").value), wrong = static_cast<size_t>(one.at("b").value);
    const auto found =
        seen({.program = [=](CompiledProgram& broken) { broken.plan.offset[wrong] = broken.plan.offset[kept]; }});
    EXPECT_EQ(count(found, "belong to"), kOrders) << one.name << "\n" << text(found);
    ++moved;
  }
  EXPECT_GE(moved, 3);
}

TEST_F(ToyFaults, TwoNodesOnOneWorkspace) {
  const auto found = seen({.program = [](CompiledProgram& broken) {
    const auto shared = static_cast<int64_t>(broken.plan.bytes);
    broken.plan.bytes += 64;
    for (const Node& one : broken.program.nodes) {
      const Operand* workspace = one.find("workspace");
      if (workspace == nullptr) continue;
      broken.plan.offset[static_cast<size_t>(workspace->value)] = shared;
    }
  }});
  EXPECT_GE(count(found, "somebody wrote to its workspace"), 1) << text(found);
}

TEST_F(ToyFaults, TheSlabIsFreedWhileAStepRuns) {
  int found = 0;
  for (uint64_t seed = 0; seed < kOrders; ++seed) {
    Machine machine({}, seed);
    machine.training().enqueue();
    machine.training().free_slab();
    try {
      machine.training().collect();
    } catch (const toy::Fault& fault) {
      found += std::string(fault.what()).find("after it was freed") != std::string::npos;
    }
  }
  RecordProperty("orders_that_show_it", found);
  EXPECT_EQ(found, kOrders);
}

// ---- The host

TEST_F(ToyFaults, ABatchThatChangesBeforeItIsTaken) {
  const auto found = seen({.misuse = {.change_batch_early = true}});
  EXPECT_GE(count(found, "wrong bits"), kOrders / 2) << text(found);
}

TEST_F(ToyFaults, AnInputSlotThatIsWrittenWhileItsRunReadsIt) {
  const auto found = seen({.slots = 1, .misuse = {.forget_to_leave = true}});
  EXPECT_GE(count(found, "wrong bits"), kOrders / 2) << text(found);
}

TEST_F(ToyFaults, AReportOutsideOfMemoryForCopies) {
  const auto found = seen({.misuse = {.report_on_the_heap = true}});
  EXPECT_EQ(count(found, "a report lies in memory that the device cannot write to"), kOrders) << text(found);
}

TEST_F(ToyFaults, AReportThatIsReadBeforeTheStepHasEnded) {
  int early = 0;
  for (uint64_t seed = 0; seed < kOrders; ++seed) {
    Machine machine({}, seed);
    machine.training().enqueue();
    early += machine.training().report().counted == 0;
    EXPECT_EQ(machine.training().collect().counted, 2 * static_cast<uint64_t>(Training::kBatch));
  }
  RecordProperty("orders_that_show_it", early);
  EXPECT_EQ(early, kOrders);
}

TEST_F(ToyFaults, AStateThatIsReadWithoutWaiting) {
  int early = 0;
  for (uint64_t seed = 0; seed < kOrders; ++seed) {
    Machine machine({}, seed);
    Training& training = machine.training();
    Stream& copies = training.lanes().of(Lane::copies);
    training.enqueue();
    const auto weights = [&] {
      return read_bytes(copies, training.states().address("weights"), training.states().bytes("weights"));
    };
    const std::vector<std::byte> before = weights();
    copies.wait(training.end());
    const std::vector<std::byte> after = weights();
    early += before != after;
    training.collect();
    EXPECT_EQ(weights(), after);
  }
  RecordProperty("orders_that_show_it", early);
  EXPECT_GE(early, kOrders / 2);
}

}  // namespace
}  // namespace packhorse
