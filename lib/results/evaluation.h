// The results of an evaluation and their file, `evaluation.h5`.
//
// Layout: root attributes (schema, images_listed, step, epoch, and the facts as fact_NAME: network, checkpoint, data,
// ...); /classes/id and /classes/name, the network's classes in label order; a group for each scope ("all" and, if a
// class selection was given, "subset") with the summary as attributes (top1, top5, top20, loss and hierarchical_top1
// have their unit as NAME_unit) and the datasets classes/{label, images, top1, top5} and confusions/{label, predicted,
// images}; /samples with single images and their predictions. Counts are exact: listed = images + outside + not_finite
// in each scope.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "metrics/top_k.h"

namespace packhorse {

inline constexpr const char* kEvaluationSchema = "packhorse/evaluation/1";

/// The results over one class set: all classes, or a class selection.
struct ScopeResult {
  std::string name;   ///< "all" or "subset": the name of its group
  std::string title;  ///< for people: "all 21,841 classes", "the 999 classes of ilsvrc2012.tsv"
  uint64_t classes = 0;
  uint64_t images = 0, outside = 0, not_finite = 0;
  std::vector<double> accuracy;  ///< top-k accuracy as shares of images, in the order of kTopK
  double loss = 0;               ///< mean cross-entropy, nats per image
  double hierarchical =
      -1;  ///< share of images whose top-1 prediction is the label, or its ancestor or descendant; -1: unknown
  std::vector<uint32_t> members;                              ///< (M) labels of the scope's classes that have images
  std::vector<int64_t> class_images, class_top1, class_top5;  ///< (M)
  std::vector<AccuracyCounters::Pair> confusions;             ///< most frequent first
};

/// Fills in everything except name, title and hierarchical.
ScopeResult summarise(const AccuracyCounters& counters, size_t most_confusions);

/// "top-1 92.20 %, top-5 99.80 %, top-20 100.00 % over all 10 classes".
std::string accuracy_text(const ScopeResult& scope);

/// One image and its top-5 predictions over all classes.
struct SampleResult {
  uint64_t image = 0;  ///< its number in the list
  int64_t label = -1;  ///< label among the network's classes; -1: the network does not have the class
  std::string label_name;
  bool mistake = false;  ///< kept as one of the most confident errors, not as part of the even sample
  std::vector<ScoredClass> best;
  std::vector<uint8_t> jpeg;  ///< the image's bytes in the shard
};

struct Evaluation {
  std::vector<std::pair<std::string, std::string>> facts;  ///< root attributes
  uint64_t listed = 0;                                     ///< number of images in the shards
  int64_t step = 0, epoch = 0;                             ///< of the checkpoint
  std::vector<std::string> class_ids, class_names;         ///< (K)
  std::vector<ScopeResult> scopes;
  std::vector<SampleResult> samples;

  /// The value of a fact; empty if there is none.
  std::string fact(const std::string& name) const;
};

void write_evaluation(const std::filesystem::path& path, const Evaluation& evaluation);
/// Throws a DamageError if the file is not a whole evaluation.
Evaluation read_evaluation(const std::filesystem::path& path);

}  // namespace packhorse
