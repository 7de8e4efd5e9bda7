// Convolutions as text, one a line, as ConvolutionSpec::text() writes them; empty lines and lines with # are left out.
#pragma once

#include <istream>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "ops/cuda/convolution_graph.h"

namespace packhorse {

/// Throws an Error for a word that is not known.
inline ConvolutionSpec spec_of(const std::string& line) {
  ConvolutionSpec spec;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const auto number = [&] { return std::stoll(word.substr(1)); };
    const bool is_number = word.size() > 1 && word.find_first_not_of("0123456789", 1) == std::string::npos;
    if (word == "forward")
      spec.pass = ConvolutionPass::forward;
    else if (word == "data_gradient")
      spec.pass = ConvolutionPass::data_gradient;
    else if (word == "weight_gradient")
      spec.pass = ConvolutionPass::weight_gradient;
    else if (word == "f16")
      spec.dtype = Dtype::f16;
    else if (word == "bf16")
      spec.dtype = Dtype::bf16;
    else if (word == "f32")
      spec.dtype = Dtype::f32;
    else if (word == "tf32") {
      spec.dtype = Dtype::f32;
      spec.tf32 = true;
    } else if (word == "apply")
      spec.prologue = ConvolutionApply::apply;
    else if (word == "sum")
      spec.prologue = ConvolutionApply::sum;
    else if (word == "projected_sum")
      spec.prologue = ConvolutionApply::projected_sum;
    else if (word == "statistics")
      spec.statistics = true;
    else if (word == "addend")
      spec.addend = true;
    else if (word == "apply_mask")
      spec.mask = ConvolutionApply::apply;
    else if (word == "sum_mask")
      spec.mask = ConvolutionApply::sum;
    else if (word == "projected_sum_mask")
      spec.mask = ConvolutionApply::projected_sum;
    else if (is_number && word[0] == 'n')
      spec.n = number();
    else if (is_number && word[0] == 'h')
      spec.h = number();
    else if (is_number && word[0] == 'w')
      spec.w = number();
    else if (is_number && word[0] == 'c')
      spec.c = number();
    else if (is_number && word[0] == 'o')
      spec.o = number();
    else if (is_number && word[0] == 'k')
      spec.kernel = number();
    else if (is_number && word[0] == 's')
      spec.stride = number();
    else if (is_number && word[0] == 'p')
      spec.pad = number();
    else
      throw Error({"'" + word + "' is no word of a convolution", line, {}});
  }
  return spec;
}

inline std::vector<ConvolutionSpec> specs_of(std::istream& text) {
  std::vector<ConvolutionSpec> specs;
  for (std::string line; std::getline(text, line);)
    if (!line.empty() && line[0] != '#') specs.push_back(spec_of(line));
  return specs;
}

}  // namespace packhorse
