#include "results/evaluation.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/schema.h"
#include "hdf5/hdf5_file.h"

namespace packhorse {
namespace {

constexpr size_t kBest = 5;  // predictions kept for each sample

const std::vector<std::string> kScopes{"all", "subset"};

std::string accuracy_name(size_t k) { return "top" + std::to_string(kTopK[k]); }

template <typename T>
void column(Hdf5Writer& writer, const std::string& name, const std::vector<T>& values, const std::string& about) {
  writer.write(name, std::span<const T>(values), {static_cast<int64_t>(values.size())});
  writer.attribute(name, "about", about);
}

void with_unit(Hdf5Writer& writer, const std::string& group, const std::string& name, double value,
               const std::string& unit) {
  writer.attribute(group, name, value);
  writer.attribute(group, name + "_unit", unit);
}

void write_scope(Hdf5Writer& writer, const ScopeResult& scope) {
  const std::string& group = scope.name;
  writer.attribute(group, "title", scope.title);
  writer.attribute(group, "classes", static_cast<int64_t>(scope.classes));
  writer.attribute(group, "images", static_cast<int64_t>(scope.images));
  writer.attribute(group, "images_outside", static_cast<int64_t>(scope.outside));
  writer.attribute(group, "images_not_finite", static_cast<int64_t>(scope.not_finite));
  for (size_t k = 0; k < kTopK.size(); ++k) with_unit(writer, group, accuracy_name(k), scope.accuracy[k], "fraction");
  with_unit(writer, group, "loss", scope.loss, "nat");
  if (scope.hierarchical >= 0) with_unit(writer, group, "hierarchical_top1", scope.hierarchical, "fraction");
  column(writer, group + "/classes/label", scope.members, "class number, a row of /classes");
  column(writer, group + "/classes/images", scope.class_images, "images of the class");
  column(writer, group + "/classes/top1", scope.class_top1, "images whose top-1 prediction is right");
  column(writer, group + "/classes/top5", scope.class_top5, "images with the class among the top-5 predictions");
  std::vector<uint32_t> label, predicted;
  std::vector<int64_t> images;
  for (const auto& pair : scope.confusions) {
    label.push_back(pair.label);
    predicted.push_back(pair.predicted);
    images.push_back(static_cast<int64_t>(pair.images));
  }
  column(writer, group + "/confusions/label", label, "the label");
  column(writer, group + "/confusions/predicted", predicted, "the wrong top-1 prediction");
  column(writer, group + "/confusions/images", images, "number of images");
}

ScopeResult read_scope(const Hdf5Reader& reader, const std::string& group) {
  ScopeResult scope;
  scope.name = group;
  scope.title = reader.text_attribute(group, "title");
  const auto count = [&](const std::string& name) {
    return static_cast<uint64_t>(reader.integer_attribute(group, name));
  };
  scope.classes = count("classes");
  scope.images = count("images");
  scope.outside = count("images_outside");
  scope.not_finite = count("images_not_finite");
  for (size_t k = 0; k < kTopK.size(); ++k) scope.accuracy.push_back(reader.real_attribute(group, accuracy_name(k)));
  scope.loss = reader.real_attribute(group, "loss");
  if (reader.has_attribute(group, "hierarchical_top1")) {
    scope.hierarchical = reader.real_attribute(group, "hierarchical_top1");
  }
  const auto labels = reader.integers(group + "/classes/label");
  scope.members.assign(labels.begin(), labels.end());
  scope.class_images = reader.integers(group + "/classes/images");
  scope.class_top1 = reader.integers(group + "/classes/top1");
  scope.class_top5 = reader.integers(group + "/classes/top5");
  const auto label = reader.integers(group + "/confusions/label");
  const auto predicted = reader.integers(group + "/confusions/predicted");
  const auto images = reader.integers(group + "/confusions/images");
  for (size_t i = 0; i < label.size(); ++i) {
    scope.confusions.push_back(
        {static_cast<uint32_t>(label[i]), static_cast<uint32_t>(predicted.at(i)), static_cast<uint64_t>(images.at(i))});
  }
  return scope;
}

void write_samples(Hdf5Writer& writer, const std::vector<SampleResult>& samples) {
  std::vector<int64_t> image, label, end, best;
  std::vector<std::string> label_name;
  std::vector<uint8_t> mistake, jpeg;
  std::vector<double> probability;
  for (const SampleResult& sample : samples) {
    image.push_back(static_cast<int64_t>(sample.image));
    label.push_back(sample.label);
    label_name.push_back(sample.label_name);
    mistake.push_back(sample.mistake ? 1 : 0);
    for (size_t i = 0; i < kBest; ++i) {
      const bool there = i < sample.best.size();
      best.push_back(there ? int64_t{sample.best[i].label} : -1);
      probability.push_back(there ? sample.best[i].probability : 0);
    }
    jpeg.insert(jpeg.end(), sample.jpeg.begin(), sample.jpeg.end());
    end.push_back(static_cast<int64_t>(jpeg.size()));
  }
  const auto rows = static_cast<int64_t>(samples.size());
  column(writer, "samples/image", image, "the image's number in its list");
  column(writer, "samples/label", label, "class number; -1: the network does not have the class");
  writer.write("samples/label_name", label_name);
  column(writer, "samples/mistake", mistake, "1: one of the most confident errors; 0: one of the even sample");
  writer.write("samples/best", std::span<const int64_t>(best), {rows, kBest});
  writer.attribute("samples/best", "about",
                   std::string("the top-5 predictions, best first; -1: there are no more classes"));
  writer.write("samples/probability", std::span<const double>(probability), {rows, kBest});
  writer.attribute("samples/probability", "unit", std::string("fraction"));
  column(writer, "samples/jpeg", jpeg, "all images, one after the other");
  column(writer, "samples/jpeg_end", end, "offset of the end of each image in samples/jpeg");
}

std::vector<SampleResult> read_samples(const Hdf5Reader& reader, const std::string& where) {
  const auto image = reader.integers("samples/image");
  const auto label = reader.integers("samples/label");
  const auto label_name = reader.strings("samples/label_name");
  const auto mistake = reader.bytes("samples/mistake");
  const auto best = reader.integers("samples/best");
  const auto probability = reader.doubles("samples/probability");
  const auto jpeg = reader.bytes("samples/jpeg");
  const auto end = reader.integers("samples/jpeg_end");
  std::vector<SampleResult> samples;
  int64_t begin = 0;
  for (size_t i = 0; i < image.size(); ++i) {
    if (end.at(i) < begin || end[i] > static_cast<int64_t>(jpeg.size())) {
      throw DamageError({"samples/jpeg_end does not fit samples/jpeg", where, "evaluate again"});
    }
    SampleResult sample;
    sample.image = static_cast<uint64_t>(image[i]);
    sample.label = label.at(i);
    sample.label_name = label_name.at(i);
    sample.mistake = mistake.at(i) != 0;
    for (size_t k = i * kBest; k < (i + 1) * kBest; ++k) {
      if (best.at(k) >= 0) sample.best.push_back({static_cast<uint32_t>(best[k]), probability.at(k)});
    }
    sample.jpeg.assign(jpeg.begin() + begin, jpeg.begin() + end[i]);
    begin = end[i];
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

ScopeResult summarise(const AccuracyCounters& counters, size_t most_confusions) {
  ScopeResult scope;
  scope.classes = counters.classes().members().size();
  scope.images = counters.images();
  scope.outside = counters.outside();
  scope.not_finite = counters.not_finite();
  for (size_t k = 0; k < kTopK.size(); ++k) scope.accuracy.push_back(counters.accuracy(k));
  scope.loss = counters.loss();
  for (const uint32_t label : counters.classes().members()) {
    if (counters.class_images(label) == 0) continue;
    scope.members.push_back(label);
    scope.class_images.push_back(static_cast<int64_t>(counters.class_images(label)));
    scope.class_top1.push_back(static_cast<int64_t>(counters.class_top1(label)));
    scope.class_top5.push_back(static_cast<int64_t>(counters.class_top5(label)));
  }
  scope.confusions = counters.confusions();
  scope.confusions.resize(std::min(scope.confusions.size(), most_confusions));
  return scope;
}

std::string Evaluation::fact(const std::string& name) const {
  const auto found = std::find_if(facts.begin(), facts.end(), [&](const auto& fact) { return fact.first == name; });
  return found == facts.end() ? "" : found->second;
}

std::string accuracy_text(const ScopeResult& scope) {
  return fmt::format("top-1 {:.2f} %, top-5 {:.2f} %, top-20 {:.2f} % over {}", 100 * scope.accuracy[0],
                     100 * scope.accuracy[1], 100 * scope.accuracy[2], scope.title);
}

void write_evaluation(const std::filesystem::path& path, const Evaluation& evaluation) {
  Hdf5Writer writer(path);
  writer.attribute("", "schema", std::string(kEvaluationSchema));
  for (const auto& [name, value] : evaluation.facts) writer.attribute("", "fact_" + name, value);
  writer.attribute("", "images_listed", static_cast<int64_t>(evaluation.listed));
  writer.attribute("", "step", evaluation.step);
  writer.attribute("", "epoch", evaluation.epoch);
  writer.write("classes/id", evaluation.class_ids);
  writer.write("classes/name", evaluation.class_names);
  for (const ScopeResult& scope : evaluation.scopes) write_scope(writer, scope);
  write_samples(writer, evaluation.samples);
  writer.commit();
}

namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw DamageError({what, where, "evaluate again"});
}

bool is_share(double value) { return value >= 0 && value <= 1; }

void check_scope(const ScopeResult& scope, const Evaluation& evaluation, const std::string& where) {
  const auto check = [&](bool sound, const char* what) {
    if (!sound) refuse(std::string(what) + ": group " + scope.name, where);
  };
  const uint64_t most = evaluation.listed;  // the counts, which may wrap, are compared one by one first
  check(scope.images <= most && scope.outside <= most && scope.not_finite <= most &&
            scope.images + scope.outside + scope.not_finite == most,
        "the counts of images do not add up");
  check(std::all_of(scope.accuracy.begin(), scope.accuracy.end(), is_share), "an accuracy is no share");
  check(scope.hierarchical == -1 || is_share(scope.hierarchical), "an accuracy is no share");
  const size_t rows = scope.members.size(), classes = evaluation.class_ids.size();
  check(scope.class_images.size() == rows && scope.class_top1.size() == rows && scope.class_top5.size() == rows,
        "the columns of the classes differ in length");
  for (size_t i = 0; i < rows; ++i)
    check(scope.members[i] < classes && scope.class_images[i] > 0 && scope.class_top1[i] >= 0 &&
              scope.class_top1[i] <= scope.class_top5[i] && scope.class_top5[i] <= scope.class_images[i],
          "a class has a label or counts that cannot be");
  for (const AccuracyCounters::Pair& pair : scope.confusions)
    check(pair.label < classes && pair.predicted < classes && pair.images <= most, "a confusion cannot be");
}

void check_evaluation(const Evaluation& evaluation, const std::string& where) {
  const size_t classes = evaluation.class_ids.size();
  if (classes == 0 || evaluation.class_names.size() != classes)
    refuse("classes and their names differ in number", where);
  if (static_cast<int64_t>(evaluation.listed) < 0 || evaluation.step < 0 || evaluation.epoch < 0)
    refuse("a number of images, steps or epochs is negative", where);
  if (evaluation.scopes.empty()) refuse("there are no results", where);
  for (const ScopeResult& scope : evaluation.scopes) check_scope(scope, evaluation, where);
  for (const SampleResult& sample : evaluation.samples) {
    if (sample.label < -1 || sample.label >= static_cast<int64_t>(classes))
      refuse("a sample's label is no class", where);
    for (const ScoredClass& best : sample.best)
      if (best.label >= classes || !is_share(best.probability)) refuse("a sample's prediction cannot be", where);
  }
}

}  // namespace

Evaluation read_evaluation(const std::filesystem::path& path) {
  const Hdf5Reader reader(path);
  check_schema(reader.has_attribute("", "schema") ? reader.text_attribute("", "schema") : "", kEvaluationSchema,
               "an evaluation", path.string(), "give the manifest of packhorse-evaluate, or evaluate again");
  Evaluation evaluation;
  for (const std::string& name : reader.attribute_names("")) {
    if (name.starts_with("fact_")) evaluation.facts.emplace_back(name.substr(5), reader.text_attribute("", name));
  }
  evaluation.listed = static_cast<uint64_t>(reader.integer_attribute("", "images_listed"));
  evaluation.step = reader.integer_attribute("", "step");
  evaluation.epoch = reader.integer_attribute("", "epoch");
  evaluation.class_ids = reader.strings("classes/id");
  evaluation.class_names = reader.strings("classes/name");
  try {
    for (const std::string& scope : kScopes) {
      if (reader.has(scope)) evaluation.scopes.push_back(read_scope(reader, scope));
    }
    evaluation.samples = read_samples(reader, path.string());
  } catch (const std::out_of_range&) {
    refuse("columns that belong together differ in length", path.string());
  }
  check_evaluation(evaluation, path.string());
  return evaluation;
}

}  // namespace packhorse
