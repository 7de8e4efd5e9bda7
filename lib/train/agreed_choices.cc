#include "train/agreed_choices.h"

#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stopwatch.h"
#include "checkpoint/checkpoint.h"

namespace packhorse {

namespace {

Choices choices_from(const Json& json) {
  Choices choices;
  for (const auto& [key, choice] : json.items()) choices[key] = choice;
  return choices;
}

Choices stated_choices(const CheckpointFolder& checkpoints) {
  for (std::vector<int64_t> steps = checkpoints.steps(); !steps.empty(); steps.pop_back()) {
    try {
      return choices_from(read_checkpoint_info(checkpoints.step_path(steps.back())).choices);
    } catch (const DamageError&) {
      continue;  // whoever loads it says so
    }
  }
  return {};
}

Choices choices_of_root(const Graph& graph, ExecutorOptions& options, const CheckpointFolder* checkpoints) {
  Choices stated = checkpoints == nullptr ? Choices() : stated_choices(*checkpoints);
  if (!options.measure) return stated;
  options.choices = read_choices(choices_path());
  for (const auto& [key, choice] : stated) options.choices[key] = choice;
  const Stopwatch clock;
  Choices taken = measured_choices(graph, options);
  Choices measured = taken;  // a checkpoint's own were perhaps not
  std::erase_if(measured, [&](const auto& choice) { return options.choices.contains(choice.first); });
  if (!measured.empty()) {
    log_info(fmt::format("measured {} ways to compute in {:.1f} s", measured.size(), clock.seconds()));
    if (!stated.empty())
      log_warning(
          "the checkpoint was made with another device or library: from here on the bits may differ from those of a "
          "run "
          "that was not interrupted");
    keep_choices(choices_path(), measured);
  }
  return taken;
}

}  // namespace

Choices agreed_choices(World& world, const Graph& graph, ExecutorOptions options, const CheckpointFolder* checkpoints) {
  const std::string mine = world.is_root() ? Json(choices_of_root(graph, options, checkpoints)).dump() : "";
  const Json all = Json::parse(world.broadcast(mine));
  return choices_from(all);
}

}  // namespace packhorse
