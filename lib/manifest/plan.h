// What a stage would do and need: the answer to --plan, in one shape for all stages, as text and as JSON
// (--plan-json, schema packhorse/plan/1, data_manifests/README.md).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace packhorse {

inline constexpr const char* kPlanSchema = "packhorse/plan/1";

/// What becomes of the result that is in the output folder.
struct PlannedReplacement {
  std::string state = "none";                  ///< for programs: none, same, other, refused, finished, unfinished
  std::string words = "nothing is there yet";  ///< for people
};

struct StagePlan {
  /// A line that only this stage has.
  struct Detail {
    std::string name, words;
    Json value;
  };

  std::string does;                          ///< "train resnet-50 on 1,000 images": the line after "would"
  std::vector<std::filesystem::path> reads;  ///< large inputs, and the manifest or description
  std::vector<Detail> details;
  std::optional<double> disk_bytes, memory_bytes, seconds;  ///< memory per rank; nothing: too little to say
  std::string disk_words, memory_words, time_words;         ///< what they consist of, or how they were found
  int ranks = 1, threads = 1;                               ///< threads of each rank
  std::string table;                                        ///< text only, at the end

  /// `writes` is the folder, or empty.
  std::string text(const std::string& stage, const std::filesystem::path& writes,
                   const PlannedReplacement& replacement) const;
  std::string json_text(const std::string& stage, const std::filesystem::path& writes,
                        const PlannedReplacement& replacement) const;
};

}  // namespace packhorse
