// What an evaluation found, as a file: `evaluation.h5`.
//
// Layout: root attributes (schema, and the facts: network, checkpoint, step, data, ...); /classes/id and /classes/name,
// the network's classes in label order; a group a scope ("all" and, where one was asked for, "subset") with the summary
// as attributes (each with its unit as NAME_unit) and as datasets classes/{label, images, top1, top5} and
// confusions/{label, predicted, images}; /samples with single images and what the network saw in them.
// Counts are exact: listed = images + outside + not_finite in each scope.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "metrics/top_k.h"

namespace packhorse {

inline constexpr const char* kEvaluationSchema = "packhorse/evaluation/1";

/// The counts over one choice of classes.
struct ScopeResult {
  std::string name;   ///< "all" or "subset": its group
  std::string title;  ///< for people: "all 21,841 classes", "the 999 classes of ilsvrc2012.tsv"
  uint64_t classes = 0;
  uint64_t images = 0, outside = 0, not_finite = 0;
  std::vector<double> accuracy;   ///< shares of images, in the order of kTopK
  double loss = 0;                ///< nats an image
  double hierarchical = -1;       ///< share whose first choice is right, or an ancestor or descendant; -1: not known
  std::vector<uint32_t> members;  ///< (M) labels of the scope's classes that have images
  std::vector<int64_t> class_images, class_top1, class_top5;  ///< (M)
  std::vector<AccuracyCounters::Pair> confusions;             ///< most frequent first
};

/// Fills all but name, title and hierarchical.
ScopeResult summarise(const AccuracyCounters& counters, size_t most_confusions);

/// "top-1 92.20 %, top-5 99.80 %, top-20 100.00 % over all 10 classes".
std::string accuracy_text(const ScopeResult& scope);

/// One image and the network's first choices over all classes.
struct SampleResult {
  uint64_t image = 0;  ///< its number in the list
  int64_t label = -1;  ///< among the network's classes; -1: not one of them
  std::string label_name;
  bool mistake = false;  ///< shown as one of the surest mistakes, not as one of the fixed sample
  std::vector<ScoredClass> best;
  std::vector<uint8_t> jpeg;  ///< as it stands in the shard
};

struct Evaluation {
  std::vector<std::pair<std::string, std::string>> facts;  ///< root attributes
  uint64_t listed = 0;                                     ///< images there were
  int64_t step = 0, epoch = 0;                             ///< of the checkpoint
  std::vector<std::string> class_ids, class_names;         ///< (K)
  std::vector<ScopeResult> scopes;
  std::vector<SampleResult> samples;

  /// The value of a fact; empty where there is none.
  std::string fact(const std::string& name) const;
};

void write_evaluation(const std::filesystem::path& path, const Evaluation& evaluation);
/// Throws DamageError for a file that is not a whole evaluation.
Evaluation read_evaluation(const std::filesystem::path& path);

}  // namespace packhorse
