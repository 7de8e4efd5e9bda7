#include "list/make_lists.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "classes/wordnet.h"
#include "list/ground_truth.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// A table of the ids found, with WordNet's names for WordNet ids.
ClassTable table_of(const std::vector<std::string>& ids, const fs::path& wordnet) {
  std::vector<ClassEntry> classes;
  const bool named = std::any_of(ids.begin(), ids.end(), WordNet::is_id);
  if (!named || !fs::exists(wordnet)) {
    if (named) log_warning("classes have no names: there is no WordNet file " + wordnet.string());
    for (const std::string& id : ids) classes.push_back({id, ""});
    return ClassTable(std::move(classes));
  }
  const WordNet nouns(wordnet);
  for (const std::string& id : ids) {
    const auto synset = nouns.find(id);
    classes.push_back({id, synset ? synset->names : ""});
  }
  return ClassTable(std::move(classes));
}

/// Converts labels from indexes into the source's own classes to indexes into the table.
void relabel(SourceImages& source, const ClassTable& classes, const fs::path& path) {
  std::vector<ImageEntry>& images = source.images;
  std::vector<uint32_t> labels;
  for (const std::string& id : source.classes) {
    const auto known = classes.label_of(id);
    if (!known && !source.classes_may_be_indexes) {
      const auto example = std::find_if(images.begin(), images.end(),
                                        [&](const ImageEntry& image) { return image.label == labels.size(); });
      throw Error({"the class '" + id + "' is not in the class table (of " + counted(classes.size(), "class") +
                       "); one of its images is '" + example->name() + "'",
                   path.string(),
                   "add it to the table that the description names under \"classes\", or remove its images"});
    }
    labels.push_back(known ? *known : label_for(id, classes, path.string()));
  }
  for (ImageEntry& image : images) image.label = labels[image.label];
  const auto by_label = [](const ImageEntry& a, const ImageEntry& b) { return a.label < b.label; };
  if (!std::is_sorted(images.begin(), images.end(), by_label)) {
    std::stable_sort(images.begin(), images.end(), by_label);
  }
}

uint64_t count_empty(const std::vector<ImageEntry>& images, size_t classes) {
  std::vector<bool> seen(classes);
  for (const ImageEntry& image : images) seen[image.label] = true;
  return static_cast<uint64_t>(std::count(seen.begin(), seen.end(), false));
}

void add_validation(const ListPlan& plan, MadeLists& made) {
  const bool flat = !plan.ground_truth.empty();
  SourceImages source = list_source(plan.validation_source, flat ? Labels::elsewhere : Labels::by_source);
  made.skipped_validation = std::move(source.skipped);
  made.found += source.found;
  if (flat) {
    apply_ground_truth(plan.ground_truth, made.classes, source.images);
  } else {
    relabel(source, made.classes, plan.validation_source);
  }
  made.lists.validation = std::move(source.images);
}

}  // namespace

MadeLists make_lists(const ListPlan& plan) {
  MadeLists made;
  SourceImages train = list_source(plan.train_source, Labels::by_source);
  made.classes = plan.classes.empty() ? table_of(train.classes, plan.wordnet) : ClassTable::load(plan.classes);
  made.skipped_train = std::move(train.skipped);
  made.found = train.found;
  relabel(train, made.classes, plan.train_source);
  made.classes_without_images = count_empty(train.images, made.classes.size());
  const ValidationSplit split = plan.validation_source.empty() ? plan.split : ValidationSplit{};
  made.lists = split_images(std::move(train.images), split, plan.seed);
  if (!plan.validation_source.empty()) add_validation(plan, made);
  shuffle_images(made.lists.train, plan.seed, 0);
  shuffle_images(made.lists.validation, plan.seed, 1);
  return made;
}

}  // namespace packhorse
