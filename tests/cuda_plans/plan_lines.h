// Lines of the tables in this folder: what the real cuDNN has for a convolution on a device that need not be there.
#pragma once

#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "cuda_plans/recorder.h"
#include "ops/cuda/convolution_graph.h"

namespace packhorse {

inline std::string text_of_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error({"cannot be read", path, {}});
  return {std::istreambuf_iterator<char>(file), {}};
}

/// SPEC | CANDIDATES | FIRST ENGINE THAT BUILDS | ITS WORKSPACE | deterministic or not; or SPEC | 0 | refused: REASON.
inline std::string plan_line(const ConvolutionSpec& spec, const std::string& device) {
  ConvolutionPlans plans(spec, device);
  std::string line = spec.text() + " | " + std::to_string(plans.candidates().size()) + " | ";
  for (size_t i = 0; i < plans.candidates().size(); ++i) {
    if (!plans.build(i)) continue;
    const PlanCandidate& first = plans.candidates()[i];
    return line + first.engine + " | " + std::to_string(first.plan_workspace) + " | " +
           (first.deterministic ? "deterministic" : "not deterministic");
  }
  return line + "refused: " + (plans.candidates().empty() ? plans.refusal() : plans.candidates().front().refusal);
}

/// SIGNATURE | SIZES | ENGINE WORKSPACE NOTES, ...: as the stand-in reads it (tests/standin/cudnn.cc). Of the engines
/// that build, the last one and the first one of each kind that a caller must cope with. Empty for what is refused. f32
/// as tf32, so that the engines are there that round.
inline std::string signature_line(const ConvolutionSpec& spec, const std::string& device) {
  std::set<std::string> exact;  // of f32: engines that do not round
  if (spec.tf32) {
    ConvolutionSpec f32 = spec;
    f32.tf32 = false;
    const ConvolutionPlans plans(f32, device);
    for (const PlanCandidate& candidate : plans.candidates()) exact.insert(candidate.engine);
  }
  ConvolutionPlans plans(spec, device);
  std::string engines;
  std::set<std::string> kinds;
  for (size_t i = 0; i < plans.candidates().size(); ++i) {
    const PlanCandidate& candidate = plans.candidates()[i];
    std::string notes;
    if (!candidate.deterministic) notes += 'n';
    if (spec.tf32 && exact.count(candidate.engine) == 0) notes += 't';
    if (candidate.runtime_compiled) notes += 'r';
    if (notes.empty()) notes = "-";
    const std::string kind = notes + (candidate.plan_workspace > 0 ? " workspace" : "");
    const bool is_last = i + 1 == plans.candidates().size();
    if ((kinds.count(kind) > 0 && !is_last) || !plans.build(i)) continue;
    kinds.insert(kind);
    engines += (engines.empty() ? "" : ", ") + candidate.engine + " ";
    engines += std::to_string(candidate.plan_workspace) + " " + notes;
  }
  if (engines.empty()) return {};
  return last_graph().signature + " | " + last_graph().sizes + " | " + engines;
}

}  // namespace packhorse
