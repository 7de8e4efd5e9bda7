#include "results/hierarchy.h"

#include <filesystem>
#include <map>
#include <set>

#include "classes/wordnet.h"

namespace packhorse {
namespace {

/// Caches ancestors, because the same few classes are looked up many times.
class Kinship {
 public:
  bool related(const std::string& a, const std::string& b) {
    return a == b || ancestors(a).contains(b) || ancestors(b).contains(a);
  }

 private:
  const std::set<std::string>& ancestors(const std::string& id) {
    const auto known = known_.find(id);
    if (known != known_.end()) return known->second;
    const auto above = wordnet_.ancestors(id);
    return known_.emplace(id, std::set<std::string>(above.begin(), above.end())).first->second;
  }

  WordNet wordnet_;
  std::map<std::string, std::set<std::string>> known_;
};

}  // namespace

double hierarchical_accuracy(const AccuracyCounters& counters, const ClassTable& table) {
  if (counters.images() == 0 || !std::filesystem::exists(wordnet_nouns())) return -1;
  for (size_t label = 0; label < table.size(); ++label) {
    if (!WordNet::is_id(table[label].id)) return -1;
  }
  Kinship kinship;
  uint64_t right = counters.right(0);
  for (const auto& pair : counters.confusions()) {
    if (kinship.related(table[pair.label].id, table[pair.predicted].id)) right += pair.images;
  }
  return static_cast<double>(right) / static_cast<double>(counters.images());
}

}  // namespace packhorse
