// plans_tool DEVICE.json < SPECS > TABLE: what cuDNN has for each convolution on that device, which need not be there.
#include <fstream>
#include <iostream>
#include <iterator>

#include "cuda_plans/spec_text.h"

int main(int argc, char** argv) {
  using namespace packhorse;
  std::ifstream file(argv[1]);
  const std::string device((std::istreambuf_iterator<char>(file)), {});
  const bool all = argc > 2;
  for (const ConvolutionSpec& spec : specs_of(std::cin)) {
    ConvolutionPlans plans(spec, device);
    size_t built = 0, runtime = 0;
    int first = -1;
    for (size_t i = 0; i < plans.candidates().size(); ++i) {
      const auto before = plans.candidates()[i].workspace;
      if (!all && built > 0) break;
      const bool ok = plans.build(i);
      if (ok && first < 0) first = (int)i;
      built += ok;
      const auto& c = plans.candidates()[i];
      runtime += c.runtime_compiled;
      if (all)
        std::cout << "   " << c.engine << " ws " << before << " -> " << c.workspace << " det " << c.deterministic
                  << " rt " << c.runtime_compiled << " " << c.refusal << "\n";
    }
    std::cout << spec.text() << " | " << plans.candidates().size() << " built " << built << " " << runtime << " ";
    if (first >= 0)
      std::cout << plans.candidates()[first].engine << " " << plans.candidates()[first].workspace << " "
                << plans.candidates()[first].deterministic;
    else
      std::cout << "REFUSED " << (plans.candidates().empty() ? plans.refusal() : plans.candidates()[0].refusal);
    std::cout << std::endl;
  }
}
