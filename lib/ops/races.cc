#include "ops/races.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/core.h>

namespace packhorse {

namespace {

// The number of each value in the second of two steps.
std::vector<int> numbers_in_second_step(const Program& program) {
  std::vector<bool> written(program.values.size());
  for (const Node& node : program.nodes)
    for (const Operand& operand : node.writes) written[static_cast<size_t>(operand.value)] = true;
  std::vector<int> numbers(program.values.size());
  int next = static_cast<int>(program.values.size());
  for (size_t v = 0; v < numbers.size(); ++v) {
    const Value& value = program.values[v];
    const bool carried = value.storage == Storage::state && !written[v];
    numbers[v] = carried ? program.last_version(value.state) : next++;
  }
  return numbers;
}

}  // namespace

Program twice(const Program& program) {
  const std::vector<int> numbers = numbers_in_second_step(program);
  Program both = program;
  for (size_t v = 0; v < numbers.size(); ++v) {
    if (numbers[v] < static_cast<int>(program.values.size())) continue;
    both.values.push_back(program.values[v]);
    both.values.back().name += " of step 2";
  }
  for (Node node : program.nodes) {
    for (auto* side : {&node.reads, &node.writes})
      for (Operand& operand : *side) operand.value = numbers[static_cast<size_t>(operand.value)];
    node.name += " of step 2";
    both.nodes.push_back(std::move(node));
  }
  return both;
}

MemoryPlan twice(const MemoryPlan& plan, const Program& program) {
  MemoryPlan both = plan;
  const std::vector<int> numbers = numbers_in_second_step(program);
  for (size_t v = 0; v < numbers.size(); ++v)
    if (numbers[v] >= static_cast<int>(program.values.size())) both.offset.push_back(plan.offset[v]);
  return both;
}

namespace {

constexpr int kSlab = -1;

/// The bytes that a node touches: rows of equal distance in a region, the slab or a state.
struct Touch {
  int node = 0;
  const Operand* operand = nullptr;
  int region = 0;  // kSlab, or the number of a state's first version, or of an input
  int64_t begin = 0, rows = 1, row_bytes = 0, first = 0, length = 0;
  int64_t from = 0, to = 0;  // of all rows
};

bool common_bytes(const Touch& a, const Touch& b) {
  if (a.region != b.region || a.from >= b.to || b.from >= a.to) return false;
  if (a.begin != b.begin || a.row_bytes != b.row_bytes || a.rows != b.rows) return true;
  return a.first < b.first + b.length && b.first < a.first + a.length;
}

class RaceSearch {
 public:
  RaceSearch(const Program& program, const MemoryPlan& plan, const std::vector<Edge>& edges)
      : program_(program), plan_(plan), order_(program.nodes.size(), edges), writers_(program.values.size()) {
    for (size_t n = 0; n < program.nodes.size(); ++n) {
      for (const Operand& operand : program.nodes[n].reads) note(n, operand, reads_);
      for (const Operand& operand : program.nodes[n].writes) note(n, operand, writes_);
    }
    for (std::vector<Touch>* list : {&reads_, &writes_})
      std::sort(list->begin(), list->end(), [](const Touch& a, const Touch& b) {
        return a.region != b.region ? a.region < b.region : a.from < b.from;
      });
    for (size_t w = 0; w < writes_.size(); ++w) writers_[static_cast<size_t>(writes_[w].operand->value)].push_back(w);
  }

  std::vector<std::string> run() {
    for (const Touch& write : writes_) {
      for (const Touch& other : near(write, writes_))
        if (&write < &other && common_bytes(write, other) && !ordered(write.node, other.node))
          report(write, other, "write");
      for (const Touch& read : near(write, reads_))
        if (common_bytes(write, read) && !harmless(write, read)) report(write, read, "write and read");
    }
    return std::move(found_);
  }

 private:
  // Those of the same region that begin before the write ends.
  static std::span<const Touch> near(const Touch& write, const std::vector<Touch>& sorted) {
    const auto first = std::lower_bound(sorted.begin(), sorted.end(), write.region,
                                        [](const Touch& touch, int region) { return touch.region < region; });
    const auto last = std::lower_bound(first, sorted.end(), write, [](const Touch& touch, const Touch& end) {
      return touch.region == end.region && touch.from < end.to;
    });
    return {first, last};
  }

  int region_of(int value) const {
    const Value& one = program_.value(value);
    if (one.storage == Storage::slab) return kSlab;
    return one.storage == Storage::state ? program_.first_version(one.state) : value;
  }

  void note(size_t n, const Operand& operand, std::vector<Touch>& list) const {
    const Value& value = program_.value(operand);
    const auto size = static_cast<int64_t>(size_of(value.dtype));
    Touch touch{static_cast<int>(n),      &operand,
                region_of(operand.value), 0,
                value.shape.pixels(),     value.shape.c * size,
                operand.first * size,     operand.count * size};
    if (!value.layout.empty()) touch.rows = 1, touch.length = static_cast<int64_t>(value.bytes());
    if (value.storage == Storage::slab) touch.begin = plan_.offset[static_cast<size_t>(operand.value)];
    touch.from = touch.begin + touch.first;
    touch.to = touch.from + (touch.rows - 1) * touch.row_bytes + touch.length;
    list.push_back(touch);
  }

  bool ordered(int a, int b) const { return order_.before(a, b) || order_.before(b, a); }

  // The reader finds what its own writers left: the write comes after the read, or before those writers of what is read
  // that write to the same bytes.
  bool harmless(const Touch& write, const Touch& read) const {
    if (order_.before(read.node, write.node)) return true;
    if (write.operand->value == read.operand->value) return order_.before(write.node, read.node);
    if (write.node == read.node) return in_place(write, read);
    bool any = false;
    for (const size_t number : writers_[static_cast<size_t>(read.operand->value)]) {
      const Touch& writer = writes_[number];
      if (!overlap(*writer.operand, *read.operand) || !common_bytes(writer, write)) continue;
      any = true;
      if (!order_.before(write.node, writer.node) || !order_.before(writer.node, read.node)) return false;
    }
    return any;
  }

  bool in_place(const Touch& write, const Touch& read) const {
    const auto& permissions = program_.nodes[static_cast<size_t>(write.node)].in_place;
    return write.begin == read.begin && write.first == read.first && write.length == read.length &&
           std::any_of(permissions.begin(), permissions.end(), [&](const InPlace& permission) {
             return permission.result == write.operand->role && permission.operand == read.operand->role;
           });
  }

  std::string who(const Touch& touch) const {
    const Node& node = program_.nodes[static_cast<size_t>(touch.node)];
    return fmt::format("{} {} ({})", node.kind->name, node.name, program_.value(*touch.operand).name);
  }
  void report(const Touch& a, const Touch& b, const char* what) {
    found_.push_back(fmt::format("{} and {} {} the same bytes in no safe order", who(a), who(b), what));
  }

  const Program& program_;
  const MemoryPlan& plan_;
  const Order order_;
  std::vector<Touch> reads_, writes_;         // by region, then by where they begin
  std::vector<std::vector<size_t>> writers_;  // by value: numbers in writes_
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> races(const Program& program, const MemoryPlan& plan, const std::vector<Edge>& edges) {
  return RaceSearch(program, plan, edges).run();
}

}  // namespace packhorse
