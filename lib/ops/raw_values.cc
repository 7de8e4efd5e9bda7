#include "ops/raw_values.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "ops/nodes.h"

namespace packhorse {

namespace {

Node& node_at(Program& program, int number) { return program.nodes[static_cast<size_t>(number)]; }

bool any_reader(const Program& program, const Operand& operand, const NodeKind& kind) {
  const std::vector<int> readers = readers_of(program, operand);
  return std::any_of(readers.begin(), readers.end(), [&](int reader) { return is(program, reader, kind); });
}

void insert(Program& program, int place, Node node) {
  program.nodes.insert(program.nodes.begin() + place, std::move(node));
}
void erase(Program& program, int place) { program.nodes.erase(program.nodes.begin() + place); }

void read_instead(Node& node, const char* role, const Operand& operand) {
  for (Operand& read : node.reads)
    if (read.role == role) read = as(role, operand);
}

bool takes_statistics(const Program& program) {
  return std::any_of(program.nodes.begin(), program.nodes.end(), [](const Node& node) { return node.is(kStatistics); });
}

// An apply that only scales, in a program that takes the batch's statistics.
bool normalises(const Program& program, int number) {
  return is(program, number, kApply) && node_at(program, number).find("residual") == nullptr &&
         takes_statistics(program);
}

}  // namespace

void take_residuals(Program& program) {
  for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n) {
    if (!is(program, n, kAdd)) continue;
    const Node add = node_at(program, n);
    if (overlap(add.at("a"), add.at("b"))) continue;  // both sides are the normalised values
    for (const char* role : {"a", "b"}) {
      const int number = writer_of(program, add.at(role));
      if (!normalises(program, number) || only_reader(program, add.at(role)) != n) continue;
      const Node apply = node_at(program, number);
      if (apply.flag("relu")) continue;
      Node sum{.kind = &kApply, .name = add.name, .reads = apply.reads, .writes = add.writes, .numbers = add.numbers};
      sum.reads.push_back(as("residual", add.at(std::string(role) == "a" ? "b" : "a")));
      sum.in_place = {{"dst", "src"}, {"dst", "residual"}};
      node_at(program, n) = std::move(sum);
      erase(program, number);
      --n;
      break;
    }
  }
}

namespace {

// What says whether scale `a` rises or falls. The batch norm's own parameter does so before the statistics are known.
Operand sign_of(const Program& program, const Operand& a) {
  const int finish = writer_of(program, a);
  return as("sign", is(program, finish, kFinish) ? node_at(program, finish).at("scale") : a);
}

}  // namespace

void pool_raw_values(Program& program) {
  for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n) {
    if (!is(program, n, kMaxPool)) continue;
    const Operand src = node_at(program, n).at("src");
    const int number = writer_of(program, src);
    if (!normalises(program, number) || !whole(program, src) || !whole(program, node_at(program, number).at("dst")) ||
        only_reader(program, src) != n)
      continue;
    Node apply = node_at(program, number), pool = node_at(program, n);
    const Operand pooled = pool.at("dst");
    Value raw = program.value(pooled);
    raw.name = pool.name + " raw";
    raw.shape.c = pooled.count;
    const Operand raw_pooled = program.whole(program.add(std::move(raw)));
    pool.reads = {apply.at("src"), sign_of(program, apply.at("a"))};
    for (Operand& result : pool.writes)
      if (result.role == "dst") result = as("dst", raw_pooled);
    read_instead(apply, "src", raw_pooled);
    apply.writes = {pooled};
    node_at(program, n) = std::move(apply);  // the pool first
    insert(program, n, std::move(pool));
    erase(program, number);
  }
}

namespace {

// True if no element is less than 0, so that ReLU changes nothing.
bool never_negative(const Program& program, const Operand& operand) {
  bool any = false;
  for (const Node& node : program.nodes)
    for (const Operand& result : node.writes) {
      if (!overlap(result, operand)) continue;
      any = true;
      const bool cut = (node.is(kApply) || node.is(kAdd)) && node.flag("relu");
      const bool pooled = (node.is(kMaxPool) || node.is(kAveragePool)) && node.find("sign") == nullptr;
      if (!cut && !(pooled && never_negative(program, node.at("src")))) return false;
    }
  return any;
}

// The nodes that write a concatenation of normalised values, if it can be one of raw values.
class Concatenation {
 public:
  Concatenation(const Program& program, int value) : program_(program), whole_(program.whole(value)) {
    for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n)
      for (const Operand& result : node_at(program, n).writes)
        if (overlap(result, whole_)) (is(program, n, kApply) ? applies : others).push_back(n);
  }

  bool can_be_raw() const {
    const Value& value = program_.value(whole_);
    return value.storage == Storage::slab && !value.output && !applies.empty() && applies.size() + others.size() > 1 &&
           std::all_of(applies.begin(), applies.end(), [&](int n) { return joins(n); }) &&
           std::all_of(others.begin(), others.end(), [&](int n) { return passes(n); }) && everybody_reads_all();
  }
  bool relu() const { return node_at(program_, applies.front()).flag("relu"); }
  int last() const { return std::max(applies.back(), others.empty() ? 0 : others.back()); }

  std::vector<int> applies, others;

 private:
  // Scale and shift become ranges of wide ones: nobody else may read them.
  bool joins(int number) const {
    const Node& apply = node_at(program_, number);
    return normalises(program_, number) && apply.flag("relu") == relu() && own(number, apply.at("a")) &&
           own(number, apply.at("b"));
  }
  bool own(int number, const Operand& channels) const {
    return whole(program_, channels) && only_reader(program_, channels) == number;
  }
  bool passes(int number) const {
    const Operand& result = node_at(program_, number).at("dst");
    return result.value == whole_.value && (!relu() || never_negative(program_, result));
  }
  bool everybody_reads_all() const {
    for (const int reader : readers_of(program_, whole_))
      for (const Operand& read : node_at(program_, reader).reads)
        if (read.value == whole_.value && !whole(program_, read)) return false;
    return true;
  }

  const Program& program_;
  Operand whole_;
};

Node copy_of(const std::string& name, const Operand& src, const Operand& dst) {
  return {.kind = &kCopyChannels, .name = name, .reads = {as("src", src)}, .writes = {as("dst", dst)}};
}

void make_raw(Program& program, int value, const Concatenation& parts) {
  const Operand normalised = program.whole(value);
  const bool relu = parts.relu();
  const auto add = [&](Value wide, const char* what) {
    wide.name = program.value(value).name + what;
    return program.whole(program.add(std::move(wide)));
  };
  const Operand raw = add(program.value(value), " raw"),
                a = add({.name = "", .shape = {1, 1, 1, normalised.count}}, " a"),
                b = add({.name = "", .shape = {1, 1, 1, normalised.count}}, " b");
  for (const int number : parts.applies) {
    const Node apply = node_at(program, number);
    const Operand& dst = apply.at("dst");
    redirect(program, apply.at("a").value, part(a, dst.first, dst.count));
    redirect(program, apply.at("b").value, part(b, dst.first, dst.count));
    node_at(program, number) = copy_of(apply.name, apply.at("src"), part(raw, dst.first, dst.count));
  }
  std::vector<Node> behind;
  for (const int number : parts.others)
    for (Operand& result : node_at(program, number).writes) {
      if (result.value != value) continue;
      result.value = raw.value;
      for (const auto& [wide, number_in_it] : {std::pair(a, 1.0), std::pair(b, 0.0)})
        behind.push_back({.kind = &kFill,
                          .name = node_at(program, number).name,
                          .writes = {as("dst", part(wide, result.first, result.count))},
                          .numbers = {{"value", number_in_it}}});
    }
  behind.push_back({.kind = &kApply,
                    .name = program.value(value).name,
                    .reads = {as("src", raw), as("a", a), as("b", b)},
                    .writes = {as("dst", normalised)},
                    .numbers = {{"relu", relu}},
                    .in_place = {{"dst", "src"}}});
  program.nodes.insert(program.nodes.begin() + parts.last() + 1, behind.begin(), behind.end());
}

}  // namespace

void join_raw_values(Program& program) {
  const auto values = static_cast<int>(program.values.size());
  for (int value = 0; value < values; ++value)
    if (const Concatenation parts(program, value); parts.can_be_raw()) make_raw(program, value, parts);
}

void delay_max_pools(Program& program) {
  if (!takes_statistics(program)) return;
  for (int n = static_cast<int>(program.nodes.size()); n-- > 0;) {
    if (!is(program, n, kMaxPool) || !any_reader(program, node_at(program, n).at("src"), kConvolution)) continue;
    const std::vector<int> readers = readers_of(program, node_at(program, n).at("dst"));
    if (readers.empty()) continue;
    const auto pool = program.nodes.begin() + n;
    std::rotate(pool, pool + 1, program.nodes.begin() + readers.front());
  }
}

void copy_ranges(Program& program) {
  for (int n = 0; n < static_cast<int>(program.nodes.size()); ++n) {
    if (!normalises(program, n)) continue;
    const Operand src = node_at(program, n).at("src"), dst = node_at(program, n).at("dst");
    if (whole(program, src) || !any_reader(program, dst, kConvolution)) continue;
    Value dense = program.value(src);
    dense.name = node_at(program, n).name + " raw";
    dense.shape.c = src.count;
    const Operand copy = program.whole(program.add(std::move(dense)));
    read_instead(node_at(program, n), "src", copy);
    insert(program, n, copy_of(node_at(program, n).name, src, copy));
    ++n;
  }
}

}  // namespace packhorse
