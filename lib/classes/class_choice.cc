#include "classes/class_choice.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "classes/wordnet.h"

namespace packhorse {
namespace {

/// The id on a line of a list; empty if the line has none.
std::string id_of(const std::string& line) {
  if (line.empty() || line.front() == '#') return "";
  const size_t tab = line.find('\t');
  const bool numbered = tab != std::string::npos && tab > 0 &&
                        std::all_of(line.begin(), line.begin() + static_cast<ptrdiff_t>(tab),
                                    [](char c) { return c >= '0' && c <= '9'; });
  std::istringstream words(numbered ? line.substr(tab + 1) : line);
  std::string id;
  if (numbered || tab != std::string::npos) {
    std::getline(words, id, '\t');
  } else {
    words >> id;
  }
  return id;
}

}  // namespace

ClassChoice all_classes(const ClassTable& table) {
  return {ClassSet(table.size()), "all " + counted(table.size(), "class"), {}};
}

ClassChoice listed_classes(const ClassTable& table, const std::filesystem::path& list) {
  std::istringstream lines(read_text(list));
  std::vector<uint32_t> chosen;
  std::vector<std::string> missing;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const std::string id = id_of(line);
    if (id.empty()) continue;
    if (const auto label = table.label_of(id)) {
      chosen.push_back(*label);
    } else if (std::find(missing.begin(), missing.end(), id) == missing.end()) {
      missing.push_back(id);
    }
  }
  if (chosen.empty()) {
    throw UsageError({"none of the list's classes is one of the network's", list.string(),
                      "begin each line with a class id (n01440764), or write `index TAB id TAB names`"});
  }
  ClassSet set(table.size(), chosen);
  std::string title = "the " + counted(set.members().size(), "class") + " of " + list.filename().string();
  return {std::move(set), std::move(title), std::move(missing)};
}

ClassChoice classes_under(const ClassTable& table, const std::string& root) {
  const WordNet wordnet;
  const auto synset = wordnet.find(root);
  if (!synset) throw UsageError({"WordNet has no noun with this id", root, "give an id such as n02084071 (dog)"});
  std::vector<uint32_t> chosen;
  for (size_t label = 0; label < table.size(); ++label) {
    if (wordnet.is_under(table[label].id, root)) chosen.push_back(static_cast<uint32_t>(label));
  }
  const std::string name = synset->names.substr(0, synset->names.find(','));
  if (chosen.empty()) {
    throw UsageError(
        {"none of the network's classes is under this synset", root + " (" + name + ")", "give a more general synset"});
  }
  ClassSet set(table.size(), chosen);
  std::string title = "the " + counted(set.members().size(), "class") + " under " + root + " (" + name + ")";
  return {std::move(set), std::move(title), {}};
}

std::optional<ClassChoice> chosen_classes(Stage& stage, const std::string& subset, const std::string& under,
                                          const ClassTable& table) {
  if (!subset.empty() && !under.empty()) {
    throw UsageError({"--subset and --under were both given", "", "give only one of them"});
  }
  if (!under.empty()) return classes_under(table, under);
  if (subset.empty()) return std::nullopt;
  const std::filesystem::path list = settle_path(stage, "subset", subset);
  stage.manifest().inputs.push_back(describe_file("subset", list));
  return listed_classes(table, list);
}

std::vector<int64_t> label_map(const ClassTable& from, const ClassTable& to) {
  std::vector<int64_t> map;
  for (size_t label = 0; label < from.size(); ++label) {
    const auto found = to.label_of(from[label].id);
    map.push_back(found ? static_cast<int64_t>(*found) : -1);
  }
  return map;
}

}  // namespace packhorse
