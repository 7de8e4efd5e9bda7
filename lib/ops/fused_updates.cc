#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ops/backend.h"
#include "ops/backward.h"
#include "ops/fusions.h"
#include "ops/nodes.h"

namespace packhorse {

const NodeKind kUpdates = {.name = "updates"};

namespace {

/// The operands of many nodes as those of one: ranges of a role that lie one behind the other are one range.
class Union {
 public:
  explicit Union(std::vector<Operand>& list) : list_(list) {}

  /// The role that the operand has now.
  std::string add(const Operand& operand) {
    std::vector<size_t>& mine = places_[operand.role];
    if (!mine.empty()) {
      Operand& last = list_[mine.back()];
      if (same(last, operand)) return last.role;
      if (last.value == operand.value && last.first + last.count == operand.first) {
        last.count += operand.count;
        return last.role;
      }
    }
    mine.push_back(list_.size());
    std::string role = mine.size() == 1 ? operand.role : operand.role + "_" + std::to_string(mine.size() - 1);
    list_.push_back(as(role, operand));
    return role;
  }

 private:
  std::vector<Operand>& list_;
  std::map<std::string, std::vector<size_t>> places_;  // by role as the nodes have it
};

bool belongs(const Program& program, const Node& node) {
  const Operand* src = node.find("src");
  const bool copies = node.is(kCopy) && src != nullptr && src->value == program.last_version(kWeights);
  return node.pass == Pass::update && (node.find("new_weight") != nullptr || node.is(kRunningStatistics) || copies);
}

}  // namespace

void fuse_updates(Program& program, const Backend& backend) {
  if (program.first_version(kWeights) == program.last_version(kWeights)) return;
  std::vector<int> members;
  for (size_t n = 0; n < program.nodes.size(); ++n)
    if (belongs(program, program.nodes[n])) members.push_back(static_cast<int>(n));
  if (members.size() < 2) return;

  Node fused{.kind = &kUpdates, .name = "parameters", .pass = Pass::update};
  Union reads(fused.reads), writes(fused.writes);
  const int updated = program.last_version(kWeights);
  std::map<std::pair<std::string, std::string>, bool> permitted;
  for (const int member : members) {
    const Node& node = node_at(program, member);
    std::map<std::string, std::string> roles;
    for (const Operand& read : node.reads)
      if (read.value != updated) roles[read.role] = reads.add(read);
    for (const Operand& result : node.writes) roles[result.role] = writes.add(result);
    for (const InPlace& permission : node.in_place) {
      InPlace mine{roles.at(permission.result), roles.at(permission.operand)};
      if (permitted.emplace(std::pair(mine.result, mine.operand), true).second) fused.in_place.push_back(mine);
    }
  }
  Node whole = fused;  // as the backend will see it
  for (const int member : members) whole.body.push_back(node_at(program, member));
  if (backend.supported(program, whole)) fuse(program, members, std::move(fused));
}

}  // namespace packhorse
