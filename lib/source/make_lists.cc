#include "source/make_lists.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "manifest/wordnet.h"
#include "source/ground_truth.h"
#include "source/source.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// A table of the ids found, with WordNet's names where they are WordNet's ids.
ClassTable table_of(const std::vector<std::string>& ids, const fs::path& wordnet) {
  std::vector<ClassEntry> classes;
  const bool named = std::any_of(ids.begin(), ids.end(), WordNet::is_id);
  if (!named || !fs::exists(wordnet)) {
    if (named) log_warning("classes have no names: there is no WordNet at " + wordnet.string());
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

/// Turns labels that count a source's own classes into those of the table. Only a listing may name a class by index.
void relabel(Found& found, const ClassTable& classes, const fs::path& source) {
  std::vector<ImageEntry>& images = found.images;
  std::vector<uint32_t> labels;
  const bool listing = fs::is_regular_file(source) && found.kind == "a listing";
  for (const std::string& id : found.classes) {
    const auto known = classes.label_of(id);
    if (!known && !listing) {
      const auto example = std::find_if(images.begin(), images.end(),
                                        [&](const ImageEntry& image) { return image.label == labels.size(); });
      throw Error({"the class '" + id + "' is not in the class table (of " + grouped(classes.size()) +
                       " classes); one of its pictures is '" + example->name() + "'",
                   source.string(), "add it to the table that \"classes\" names, or take its pictures away"});
    }
    labels.push_back(known ? *known : label_for(id, classes, source.string()));
  }
  for (ImageEntry& image : images) image.label = labels[image.label];
  const auto by_label = [](const ImageEntry& a, const ImageEntry& b) { return a.label < b.label; };
  if (!std::is_sorted(images.begin(), images.end(), by_label)) {
    std::stable_sort(images.begin(), images.end(), by_label);
  }
}

uint64_t count_empty(const std::vector<ImageEntry>& images, size_t classes) {
  std::vector<bool> met(classes);
  for (const ImageEntry& image : images) met[image.label] = true;
  return static_cast<uint64_t>(std::count(met.begin(), met.end(), false));
}

void add_validation(const ListPlan& plan, Listed& listed) {
  const bool flat = !plan.ground_truth.empty();
  Found found = enumerate_source(plan.validation_source, flat ? Labels::elsewhere : Labels::by_source);
  for (const auto& [what, count] : found.skipped) listed.skipped[what] += count;
  listed.validation_kind = found.kind;
  if (flat) {
    apply_ground_truth(plan.ground_truth, listed.classes, found.images);
  } else {
    relabel(found, listed.classes, plan.validation_source);
  }
  listed.lists.validation = std::move(found.images);
}

}  // namespace

Listed make_lists(const ListPlan& plan) {
  Listed listed;
  Found train = enumerate_source(plan.train_source, Labels::by_source);
  listed.classes = plan.classes.empty() ? table_of(train.classes, plan.wordnet) : ClassTable::load(plan.classes);
  listed.train_kind = train.kind;
  listed.skipped = std::move(train.skipped);
  relabel(train, listed.classes, plan.train_source);
  listed.classes_without_picture = count_empty(train.images, listed.classes.size());
  listed.lists =
      split_images(std::move(train.images), plan.validation_source.empty() ? plan.split : Split{}, plan.seed);
  if (!plan.validation_source.empty()) add_validation(plan, listed);
  shuffle_images(listed.lists.train, plan.seed, 0);
  shuffle_images(listed.lists.validation, plan.seed, 1);
  return listed;
}

}  // namespace packhorse
