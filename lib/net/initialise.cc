#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "net/graph.h"

namespace packhorse {

void initialise(const Graph& graph, uint64_t seed, float* parameters, float* statistics) {
  for (size_t index = 0; index < graph.parameters.size(); ++index) {
    const Parameter& parameter = graph.parameters[index];
    float* const first = parameters + parameter.offset;
    RandomStream random(seed, RandomUse::weights, index, 0);
    switch (parameter.init) {
      case Init::zeros:
        std::fill_n(first, parameter.count, 0.0f);
        break;
      case Init::ones:
        std::fill_n(first, parameter.count, 1.0f);
        break;
      case Init::he_normal: {  // keeps the variance through a ReLU: 2 / inputs (arXiv 1502.01852)
        const float deviation =
            std::sqrt(2.0f * static_cast<float>(parameter.shape[0]) / static_cast<float>(parameter.count));
        std::generate_n(first, parameter.count, [&] { return deviation * random.normal(); });
        break;
      }
      case Init::xavier_uniform: {
        const float bound = std::sqrt(6.0f / static_cast<float>(parameter.shape[0] + parameter.shape[1]));
        std::generate_n(first, parameter.count, [&] { return random.uniform(-bound, bound); });
        break;
      }
    }
  }
  for (const Statistic& statistic : graph.statistics)
    std::fill_n(statistics + statistic.offset, statistic.count, statistic.start);
}

}  // namespace packhorse
