#include "ops/fusions.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/backend.h"
#include "ops/nodes.h"

namespace packhorse {

const NodeKind kConvolutionStatistics = {.name = "convolution_statistics"};
const NodeKind kApplyConvolutionStatistics = {.name = "apply_convolution_statistics"};
const NodeKind kSumConvolutionStatistics = {.name = "sum_convolution_statistics"};
const NodeKind kProjectedSumConvolutionStatistics = {.name = "projected_sum_convolution_statistics"};
const NodeKind kApplyConvolutionWeightGradient = {.name = "apply_convolution_weight_gradient"};
const NodeKind kDataGradientMask = {.name = "data_gradient_mask"};
const NodeKind kDataGradientSumMask = {.name = "data_gradient_sum_mask"};
const NodeKind kDataGradientProjectedSumMask = {.name = "data_gradient_projected_sum_mask"};
const NodeKind kApplyMaxPool = {.name = "apply_max_pool"};
const NodeKind kApplyGlobalPool = {.name = "apply_global_pool"};
const NodeKind kGlobalPoolGradientMask = {.name = "global_pool_gradient_mask"};
const NodeKind kStatisticsMaxPool = {.name = "statistics_max_pool"};
const NodeKind kMaxPoolStatisticsGradient = {.name = "max_pool_statistics_gradient"};
const NodeKind kScatter = {.name = "scatter"};
const NodeKind kJoin = {.name = "join"};

namespace {

int size(const Program& program) { return static_cast<int>(program.nodes.size()); }

bool any_overlaps(const std::vector<Operand>& list, const Operand& operand) {
  return std::any_of(list.begin(), list.end(), [&](const Operand& other) { return overlap(other, operand); });
}

using Roles = std::map<std::string, std::string>;

/// A fused node in the making: members in their order, what lies between them left out.
class Fused {
 public:
  Fused(const NodeKind& kind, const Node& named) {
    node_.kind = &kind;
    node_.name = named.name;
    node_.pass = named.pass;
  }
  /// `renamed`: the member's roles that are others in the fused node. `inner`: results that nobody else needs.
  Fused& take(const Node& member, const Roles& renamed = {}, const std::vector<std::string>& inner = {}) {
    for (const Operand& read : member.reads)
      if (!any_overlaps(made_, read)) add(node_.reads, read, renamed);
    for (const Operand& result : member.writes) {
      made_.push_back(result);
      if (std::find(inner.begin(), inner.end(), result.role) == inner.end()) add(node_.writes, result, renamed);
    }
    for (const auto& [key, number] : member.numbers) {
      double& mine = node_.numbers.emplace(key, number).first->second;
      mine = std::max(mine, number);  // relu: of one of the members
    }
    return *this;
  }
  const Node& node() const { return node_; }

 private:
  void add(std::vector<Operand>& list, const Operand& operand, const Roles& renamed) {
    const auto other = renamed.find(operand.role);
    const std::string role = other == renamed.end() ? operand.role : other->second;
    std::string numbered = role;
    for (int number = 1; const Operand* taken = node_.find(numbered); ++number) {
      if (same(*taken, operand)) return;
      numbered = role + "_" + std::to_string(number);
    }
    list.push_back(as(numbered, operand));
  }

  Node node_;
  std::vector<Operand> made_;
};

std::vector<int> readers_of_kind(const Program& program, const Operand& operand, const NodeKind& kind) {
  std::vector<int> readers = readers_of(program, operand);
  readers.erase(std::remove_if(readers.begin(), readers.end(), [&](int n) { return !is(program, n, kind); }),
                readers.end());
  return readers;
}

int reader_with(const Program& program, const Operand& operand, const NodeKind& kind, const char* role) {
  for (const int reader : readers_of_kind(program, operand, kind))
    if (const Operand* read = node_at(program, reader).find(role); read != nullptr && same(*read, operand))
      return reader;
  return -1;
}

void replace_reads(Program& program, const Operand& from, const Operand& to) {
  for (Node& node : program.nodes)
    for (Operand& read : node.reads)
      if (overlap(read, from)) read = {read.role, to.value, to.first + read.first - from.first, read.count};
}

void erase_role(std::vector<Operand>& list, const std::string& role) {
  list.erase(std::remove_if(list.begin(), list.end(), [&](const Operand& operand) { return operand.role == role; }),
             list.end());
}

void rename_role(Node& node, const std::string& from, const std::string& to) {
  for (auto* side : {&node.reads, &node.writes})
    for (Operand& operand : *side)
      if (operand.role == from) operand.role = to;
  for (InPlace& permission : node.in_place) {
    if (permission.result == from) permission.result = to;
    if (permission.operand == from) permission.operand = to;
  }
}

}  // namespace

// ---- Masks

namespace {

/// Follows a scaled gradient to the passes that add it to what flows through the statistics. On the way it is copied,
/// or goes back through a max pool: both commute with a factor for a channel.
class Separation {
 public:
  Separation(const Program& program, const Node& gradient) : program_(program) {
    possible_ = gradient.find("src_grad") != nullptr && gradient.find("src_grad_addend") == nullptr &&
                follow(gradient.at("src_grad"), gradient.at("a"));
  }
  bool possible() const { return possible_; }
  /// The nodes at the ends, as they are to be.
  const std::map<int, Node>& ends() const { return ends_; }

 private:
  bool follow(const Operand& gradient, const Operand& a) {
    const Value& value = program_.value(gradient);
    const std::vector<int> readers = readers_of(program_, gradient);
    return value.storage == Storage::slab && !value.output && !readers.empty() &&
           std::all_of(readers.begin(), readers.end(), [&](int reader) { return take(reader, gradient, a); });
  }

  bool take(int number, const Operand& gradient, const Operand& a) {
    const Node& reader = node_at(program_, number);
    const bool end = reader.is(kStatisticsGradient);
    const Operand* read = reader.find(end ? "src_grad_addend" : "dst_grad");
    if (read == nullptr || read->value != gradient.value) return false;
    const Operand factor = part(a, read->first - gradient.first, read->count);
    if (end) {
      Node changed = reader;
      rename_role(changed, "src_grad_addend", "masked_grad");
      changed.reads.push_back(as("a", factor));
      ends_[number] = std::move(changed);
      return true;
    }
    if (!reader.is(kCopyChannelsGradient) && !reader.is(kMaxPoolGradient)) return false;
    if (is_one(factor)) return true;
    return reader.find("src_grad_addend") == nullptr && follow(reader.at("src_grad"), factor);
  }

  // What joined a concatenation as it is: the factor changes nothing.
  bool is_one(const Operand& factor) const {
    const int writer = writer_of(program_, factor);
    return is(program_, writer, kFill) && node_at(program_, writer).number("value") == 1 &&
           same(node_at(program_, writer).at("dst"), factor);
  }

  const Program& program_;
  bool possible_ = false;
  std::map<int, Node> ends_;
};

// Another operand of the node with the same numbers as the masked gradient.
const Operand* same_as_masked(const Node& gradient) {
  const bool adds = gradient.find("residual_grad_addend") != nullptr;
  if (const Operand* residual = gradient.find("residual_grad"); residual != nullptr && !adds) return residual;
  return gradient.flag("relu") ? nullptr : gradient.find("dst_grad");
}

}  // namespace

void separate_masks(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n) {
    if (!is(program, n, kApplyGradient)) continue;
    const Separation separation(program, node_at(program, n));
    if (!separation.possible()) continue;
    Node changed = node_at(program, n);
    rename_role(changed, "src_grad", "masked_grad");
    const auto supported = [&](const auto& end) { return backend.supported(program, end.second); };
    const std::map<int, Node>& ends = separation.ends();
    if (!backend.supported(program, changed) || !std::all_of(ends.begin(), ends.end(), supported)) continue;
    for (const auto& [number, end] : ends) program.nodes[static_cast<size_t>(number)] = end;
    if (const Operand* other = same_as_masked(changed)) {
      replace_reads(program, changed.at("masked_grad"), *other);
      erase_role(changed.writes, "masked_grad");
    }
    program.nodes[static_cast<size_t>(n)] = std::move(changed);
  }
}

// ---- Copies

namespace {

void erase(Program& program, int number) { program.nodes.erase(program.nodes.begin() + number); }

// The node with these channels somewhere else.
Node moved(Node node, const Operand& from, const Operand& to) {
  for (auto* side : {&node.reads, &node.writes})
    for (Operand& operand : *side)
      if (overlap(operand, from))
        operand = {operand.role, to.value, to.first + operand.first - from.first, operand.count};
  return node;
}

// average_pool, copy_channels: the pool writes to where the copy would.
bool write_in_place(Program& program, const Backend& backend, int number) {
  const Operand from = node_at(program, number).at("src"), to = node_at(program, number).at("dst");
  const int pool = writer_of(program, from);
  if (!is(program, pool, kAveragePool) || !whole(program, from)) return false;
  const std::vector<int> readers = readers_of(program, from);
  const auto may_move = [&](int node) { return backend.supported(program, moved(node_at(program, node), from, to)); };
  const bool all = may_move(pool) && std::all_of(readers.begin(), readers.end(), [&](int reader) {
                     const bool pointwise =
                         is(program, reader, kStatistics) || is(program, reader, kStatisticsGradient);
                     return reader == number || (pointwise && may_move(reader));
                   });
  if (!all) return false;
  erase(program, number);
  redirect(program, from.value, to);
  return true;
}

// What is read again in the backward pass is the copy: the original need not be kept.
void read_copy_later(Program& program, const Backend& backend, int number) {
  const Operand from = node_at(program, number).at("src"), to = node_at(program, number).at("dst");
  for (Node& node : program.nodes) {
    if (!node.is(kStatisticsGradient) || !same(node.at("src"), from)) continue;
    Node changed = moved(node, from, to);
    if (backend.supported(program, changed)) node = std::move(changed);
  }
}

// copy_channels_gradient, statistics_gradient: the pass reads where the copy would.
bool read_in_place(Program& program, const Backend& backend, int number) {
  const Node& copy = node_at(program, number);
  const Operand from = copy.at("src_grad"), to = copy.at("dst_grad");
  const int reader = only_reader(program, from);
  if (copy.find("src_grad_addend") != nullptr || !is(program, reader, kStatisticsGradient)) return false;
  Node changed = moved(node_at(program, reader), from, to);
  if (!backend.supported(program, changed)) return false;
  program.nodes[static_cast<size_t>(reader)] = std::move(changed);
  erase(program, number);
  return true;
}

}  // namespace

void drop_copies(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n) {
    if (is(program, n, kCopyChannels)) {
      if (write_in_place(program, backend, n))
        --n;
      else
        read_copy_later(program, backend, n);
    } else if (is(program, n, kCopyChannelsGradient) && read_in_place(program, backend, n)) {
      --n;
    }
  }
}

// ---- Convolutions

namespace {

std::vector<Node> nodes_at(const Program& program, const std::vector<int>& numbers) {
  std::vector<Node> nodes;
  nodes.reserve(numbers.size());
  for (const int number : numbers) nodes.push_back(node_at(program, number));
  return nodes;
}

// Fuses what is at these places, if the backend supports it and gains from it.
bool fuse_if_supported(Program& program, const Backend& backend, const std::vector<int>& members, const Fused& fused) {
  if (!backend.supported(program, fused.node()) || !backend.worth(program, {fused.node()}, nodes_at(program, members)))
    return false;
  fuse(program, members, fused.node());
  return true;
}

/// A convolution with the statistics of its result, and perhaps nodes in front of it.
struct Chain {
  std::vector<int> members;
  Fused fused;

  void take_convolution(const Program& program, int conv) {
    members.push_back(conv);
    fused.take(node_at(program, conv));
    for (const int statistics : readers_of_kind(program, node_at(program, conv).at("dst"), kStatistics)) {
      members.push_back(statistics);
      fused.take(node_at(program, statistics));
    }
  }
};

bool has_statistics(const Program& program, int conv) {
  return is(program, conv, kConvolution) &&
         !readers_of_kind(program, node_at(program, conv).at("dst"), kStatistics).empty();
}

// The convolution that reads a sum first; -1: none.
int first_convolution(const Program& program, const Operand& sum) {
  const std::vector<int> convs = readers_of_kind(program, sum, kConvolution);
  return convs.empty() || !has_statistics(program, convs.front()) ? -1 : convs.front();
}

const Roles kSumRoles = {{"dst", "sum"}};
const Roles kResidualRoles = {{"src", "residual_src"},
                              {"a", "residual_a"},
                              {"b", "residual_b"},
                              {"a_grad", "residual_a_grad"},
                              {"b_grad", "residual_b_grad"}};
const Roles kMaskRoles = {{"residual_grad", "masked_grad"}};
const Roles kAddendRoles = {{"src_grad_addend", "addend"}};

// The data gradient that alone gives, and gives only, what this apply_gradient reads; -1: none.
int data_gradient_of(const Program& program, int mask) {
  const Operand& gradient = node_at(program, mask).at("dst_grad");
  const int data = writer_of(program, gradient);
  const bool alone = is(program, data, kConvolutionDataGradient) && only_reader(program, gradient) == mask &&
                     same(node_at(program, data).at("src_grad"), gradient);
  return alone ? data : -1;
}

// What follows from it can be written by an epilogue: the masked gradient and two sums.
bool is_mask(const Node& node) {
  return node.is(kApplyGradient) && node.flag("relu") && node.find("src_grad") == nullptr &&
         node.find("residual_grad_addend") == nullptr;
}

/// The nodes around the sum of two scaled values: a block's last convolution and its projection.
struct ProjectedSum {
  int projection = -1, sum = -1, conv = -1;        // forward: two apply nodes, the convolution behind them
  int data = -1, mask = -1, projection_mask = -1;  // backward
};

std::optional<ProjectedSum> projected_sum(const Program& program, int sum) {
  if (!is(program, sum, kApply) || node_at(program, sum).find("residual") == nullptr) return {};
  const Operand residual = node_at(program, sum).at("residual");
  ProjectedSum found{.projection = writer_of(program, residual), .sum = sum};
  if (!is(program, found.projection, kApply) || node_at(program, found.projection).find("residual") != nullptr ||
      node_at(program, found.projection).flag("relu"))
    return {};
  found.conv = first_convolution(program, node_at(program, sum).at("dst"));
  found.mask = reader_with(program, residual, kApplyGradient, "residual");
  const bool only_these = !program.value(residual).output && program.value(residual).storage == Storage::slab &&
                          readers_of(program, residual) == std::vector<int>{sum, found.mask};
  if (found.conv < 0 || found.mask < 0 || !only_these || !is_mask(node_at(program, found.mask))) return {};
  found.data = data_gradient_of(program, found.mask);
  const Operand* masked = node_at(program, found.mask).find("residual_grad");
  if (masked != nullptr) found.projection_mask = reader_with(program, *masked, kApplyGradient, "dst_grad");
  if (found.data < 0 || found.projection_mask < 0) return {};
  const Node& second = node_at(program, found.projection_mask);
  const bool reductions_only = second.find("src_grad") == nullptr && second.find("masked_grad") == nullptr;
  return reductions_only ? std::optional(found) : std::nullopt;
}

// A clone whose result is a value of its own, for one reader.
Node clone_for(Program& program, const Node& apply, Node& reader) {
  const Operand& old = apply.at("dst");
  Value again = program.value(old);
  const Operand fresh = program.whole(program.add(std::move(again)));
  Node clone = apply;
  clone.pass = reader.pass;
  clone.in_place.clear();  // its source is still needed
  clone.writes = {as("dst", fresh)};
  for (Operand& read : reader.reads)
    if (same(read, old)) read = as(read.role, fresh);
  return clone;
}

void insert(Program& program, int place, Node node) {
  program.nodes.insert(program.nodes.begin() + place, std::move(node));
}

bool fuse_projected_sum(Program& program, const Backend& backend, const ProjectedSum& p) {
  const Node projection = node_at(program, p.projection);
  Chain chain{.members = {p.projection, p.sum},
              .fused = Fused(kProjectedSumConvolutionStatistics, node_at(program, p.conv))};
  chain.fused.take(projection, kResidualRoles, {"dst"}).take(node_at(program, p.sum), kSumRoles);
  chain.take_convolution(program, p.conv);
  Fused masks(kDataGradientProjectedSumMask, node_at(program, p.data));
  masks.take(projection, kResidualRoles, {"dst"})
      .take(node_at(program, p.data), kAddendRoles, {"src_grad"})
      .take(node_at(program, p.mask), kMaskRoles)
      .take(node_at(program, p.projection_mask), kResidualRoles);
  if (!backend.supported(program, chain.fused.node()) || !backend.supported(program, masks.node())) return false;
  std::vector<int> plain = chain.members;
  plain.insert(plain.end(), {p.data, p.mask, p.projection_mask});
  if (!backend.worth(program, {chain.fused.node(), masks.node()}, nodes_at(program, plain))) return false;
  // From behind: what is in front keeps its place.
  insert(program, p.data, clone_for(program, projection, program.nodes[static_cast<size_t>(p.mask)]));
  fuse(program, {p.data, p.data + 1, p.mask + 1, p.projection_mask + 1}, masks.node());
  fuse(program, chain.members, chain.fused.node());
  return true;
}

}  // namespace

void fuse_projected_sums(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n)
    if (const std::optional<ProjectedSum> found = projected_sum(program, n))
      if (fuse_projected_sum(program, backend, *found)) n = found->projection;
}

void fuse_sums(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n) {
    if (!is(program, n, kApply) || node_at(program, n).find("residual") == nullptr) continue;
    const int conv = first_convolution(program, node_at(program, n).at("dst"));
    if (conv < 0) continue;
    Chain chain{.members = {n}, .fused = Fused(kSumConvolutionStatistics, node_at(program, conv))};
    chain.fused.take(node_at(program, n), kSumRoles);
    chain.take_convolution(program, conv);
    fuse_if_supported(program, backend, chain.members, chain.fused);
  }
}

namespace {

/// An apply and one of its readers, fused.
struct Absorbed {
  std::vector<int> members;  // without the apply
  Fused fused;
};

std::optional<Absorbed> absorbed(const Program& program, const Node& apply, int reader) {
  const Node& node = node_at(program, reader);
  if (!std::any_of(node.reads.begin(), node.reads.end(),
                   [&](const Operand& read) { return same(read, apply.at("dst")); }))
    return {};
  const auto pair = [&](const NodeKind& kind) {
    return Absorbed{{reader}, Fused(kind, node).take(apply, {}, {"dst"}).take(node)};
  };
  const bool residual = apply.find("residual") != nullptr;
  if (node.is(kGlobalPool)) return pair(kApplyGlobalPool);
  if (residual) return {};
  if (node.is(kMaxPool)) return pair(kApplyMaxPool);
  if (node.is(kConvolutionWeightGradient)) return pair(kApplyConvolutionWeightGradient);
  if (!has_statistics(program, reader)) return {};
  Chain chain{.members = {}, .fused = Fused(kApplyConvolutionStatistics, node)};
  chain.fused.take(apply, {}, {"dst"});
  chain.take_convolution(program, reader);
  return Absorbed{chain.members, chain.fused};
}

bool all_absorb(const Program& program, const Backend& backend, const Node& apply, const std::vector<int>& readers) {
  std::vector<Node> fused, plain = {apply};
  for (const int reader : readers) {
    const std::optional<Absorbed> one = absorbed(program, apply, reader);
    if (!one || !backend.supported(program, one->fused.node())) return false;
    fused.push_back(one->fused.node());
    for (const int member : one->members) plain.push_back(node_at(program, member));
  }
  return backend.worth(program, fused, plain);
}

// The reader takes a clone of the apply.
void absorb(Program& program, const Node& apply, int reader) {
  const Node clone = clone_for(program, apply, program.nodes[static_cast<size_t>(reader)]);
  insert(program, reader, clone);
  const Absorbed fused = *absorbed(program, clone, reader + 1);
  std::vector<int> members = fused.members;
  members.insert(members.begin(), reader);
  fuse(program, members, fused.fused.node());
}

}  // namespace

void absorb_applies(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n) {
    if (!is(program, n, kApply)) continue;
    const Node apply = node_at(program, n);
    const Operand& dst = apply.at("dst");
    const Value& value = program.value(dst);
    const std::vector<int> readers = readers_of(program, dst);
    if (value.storage != Storage::slab || value.output || !whole(program, dst) || readers.empty() ||
        !all_absorb(program, backend, apply, readers))
      continue;
    for (size_t r = readers.size(); r-- > 0;) absorb(program, apply, readers[r]);  // from behind: the others stay
    erase(program, n--);
  }
}

void fuse_statistics(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n) {
    if (!has_statistics(program, n)) continue;
    Chain chain{.members = {}, .fused = Fused(kConvolutionStatistics, node_at(program, n))};
    chain.take_convolution(program, n);
    fuse_if_supported(program, backend, chain.members, chain.fused);
  }
}

void fuse_masks(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n) {
    if (!is_mask(node_at(program, n))) continue;
    const int data = data_gradient_of(program, n);
    if (data < 0) continue;
    const Node &gradient = node_at(program, data), &mask = node_at(program, n);
    const bool sum = mask.find("residual") != nullptr;
    Fused fused(sum ? kDataGradientSumMask : kDataGradientMask, gradient);
    fused.take(gradient, kAddendRoles, {"src_grad"}).take(mask, kMaskRoles);
    fuse_if_supported(program, backend, {data, n}, fused);
  }
}

// ---- Our own passes

namespace {

using Belongs = bool (*)(const Program& program, const Node& node, int value);

// The nodes that belong to this value, as one.
void fuse_group(Program& program, const Backend& backend, const NodeKind& kind, int value, Belongs belongs) {
  std::vector<int> members;
  for (int n = 0; n < size(program); ++n)
    if (belongs(program, node_at(program, n), value)) members.push_back(n);
  if (members.size() < 2) return;
  Fused fused(kind, node_at(program, members.front()));
  for (const int member : members) fused.take(node_at(program, member));
  fuse_if_supported(program, backend, members, fused);
}

bool reads(const Node& node, int value) {
  const Operand* src = node.find("src");
  return src != nullptr && src->value == value;
}

bool takes_apart(const Program& program, const Node& node, int value) {
  if (node.is(kCopyChannels) || node.is(kAveragePool)) return reads(node, value);
  if (!node.is(kStatistics)) return false;
  const int pool = writer_of(program, node.at("src"));
  return is(program, pool, kAveragePool) && reads(node_at(program, pool), value);
}

bool joins(const Program& /*program*/, const Node& node, int value) {
  return node.is(kCopyChannels) && node.at("dst").value == value;
}

}  // namespace

void fuse_copies(Program& program, const Backend& backend) {
  const auto values = static_cast<int>(program.values.size());
  for (int value = 0; value < values; ++value) fuse_group(program, backend, kScatter, value, takes_apart);
  for (int value = 0; value < values; ++value) fuse_group(program, backend, kJoin, value, joins);
}

namespace {

// The number of the node that goes with pool `n`, and the kind that both become; -1: none.
std::pair<int, const NodeKind*> partner_of(const Program& program, int n) {
  const Node& pool = node_at(program, n);
  // The sign must not come from the statistics.
  if (pool.is(kMaxPool) && pool.find("sign") != nullptr && program.value(pool.at("sign")).storage == Storage::state)
    return {reader_with(program, pool.at("src"), kStatistics, "src"), &kStatisticsMaxPool};
  if (!pool.is(kMaxPoolGradient) && !pool.is(kGlobalPoolGradient)) return {-1, nullptr};
  if (pool.find("src_grad_addend") != nullptr) return {-1, nullptr};
  const int reader = only_reader(program, pool.at("src_grad"));
  if (pool.is(kMaxPoolGradient) && is(program, reader, kStatisticsGradient) &&
      node_at(program, reader).find("masked_grad") != nullptr)
    return {reader, &kMaxPoolStatisticsGradient};
  if (pool.is(kGlobalPoolGradient) && reader >= 0 && is_mask(node_at(program, reader)))
    return {reader, &kGlobalPoolGradientMask};
  return {-1, nullptr};
}

}  // namespace

void fuse_pools(Program& program, const Backend& backend) {
  for (int n = 0; n < size(program); ++n) {
    const auto [partner, kind] = partner_of(program, n);
    if (partner < 0) continue;
    const int first = std::min(n, partner), second = std::max(n, partner);
    std::vector<std::string> inner;
    if (partner > n) inner = {"src_grad"};
    Fused fused(*kind, node_at(program, n));
    fused.take(node_at(program, first), {}, inner).take(node_at(program, second), kMaskRoles);
    fuse_if_supported(program, backend, {first, second}, fused);
  }
}

}  // namespace packhorse
