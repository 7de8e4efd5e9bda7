// How long each of cuDNN's plans takes on this machine's GPU, and whether it gives the same bits each time.
//
//   plan_times [MOST [CHOICES.json]] < SPECS     for each convolution a line, and one for each of its first MOST
//                                                candidates (12); the fastest become choices (ops/choices.h)
//
// Specs are those of spec_text.h; networks/*.txt has the ones of whole networks.
#include <cudnn.h>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "cuda_plans/spec_text.h"
#include "device/cuda/cuda_device.h"
#include "ops/choices.h"
#include "ops/cuda/plan_trials.h"

namespace packhorse {
namespace {

void time_plans(const ConvolutionSpec& spec, size_t most, Device& device, Stream& stream, cudnnContext* handle,
                Choices& choices) {
  ConvolutionPlans plans(spec, handle);
  std::string lines;
  std::optional<double> first, best, repeating;
  std::optional<cuda::PlanTrials> trials;
  for (size_t i = 0; i < plans.candidates().size() && i < most; ++i) {
    const PlanCandidate& candidate = plans.candidates()[i];
    char line[512];
    try {
      if (!plans.build(i)) throw Error({candidate.refusal, "", ""});
      if (!trials) trials.emplace(device, stream, handle, spec);
      const cuda::Trial trial = trials->run(plans, i, std::nullopt);
      std::snprintf(line, sizeof line, "    %8.1f us  %-7s %-5s %7.1f MB  %s\n", 1e6 * trial.seconds,
                    trial.repeats ? "repeats" : "differs", candidate.deterministic ? "" : "noted",
                    static_cast<double>(candidate.workspace) / 1e6, candidate.engine.c_str());
      if (!first) first = trial.seconds;
      const auto take = [&](std::optional<double>& fastest, bool deterministic) {
        if (fastest && trial.seconds >= *fastest) return;
        fastest = trial.seconds;
        choices[cuda::plan_choice_key(device, spec, deterministic)] = candidate.engine;
      };
      take(best, false);
      if (trial.repeats) take(repeating, true);
    } catch (const Error& error) {
      std::snprintf(line, sizeof line, "    refused %s: %.300s\n", candidate.engine.c_str(), error.what());
    }
    lines += line;
    plans.keep_only(plans.candidates().size());
  }
  const auto us = [](const std::optional<double>& seconds) { return seconds ? 1e6 * *seconds : std::nan(""); };
  std::printf("%8.1f %8.1f %8.1f  %s\n%s", us(best), us(repeating), us(first), spec.text().c_str(), lines.c_str());
  std::fflush(stdout);
}

}  // namespace
}  // namespace packhorse

int main(int argc, char** argv) {
  using namespace packhorse;
  try {
    const size_t most = argc > 1 ? std::stoul(argv[1]) : 12;
    Device& device = cuda::device(0);
    const std::unique_ptr<Stream> stream = device.make_stream(false);
    cudnnHandle_t handle = nullptr;
    if (cudnnCreate(&handle) != CUDNN_STATUS_SUCCESS) throw Error({"cuDNN gives no handle", "plan_times", ""});
    cudnnSetStream(handle, cuda::stream_of(*stream));
    Choices choices;
    std::printf("    best repeating  first us  on %s\n", device.name().c_str());
    for (const ConvolutionSpec& spec : specs_of(std::cin)) time_plans(spec, most, device, *stream, handle, choices);
    if (argc > 2) keep_choices(argv[2], choices);
    return kExitOk;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code();
  }
}
