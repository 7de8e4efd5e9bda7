#include "feed/image_input.h"

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/log.h"
#include "image/resample.h"

namespace packhorse {

int ImageInput::short_edge() const {
  // Data sets of such small images are used at their own size, without a margin to crop.
  constexpr int kSmall = 64;  // pixels
  if (resize > 0) return resize;
  return size <= kSmall ? size : static_cast<int>(std::lround(size * 8.0 / 7.0));
}

ImageInput image_input_from(const Json& settings, int64_t image_size, const std::string& where) {
  ImageInput input;
  input.size = static_cast<int>(image_size);
  input.resize = static_cast<int>(json_member<int64_t>(settings, "resize", where));
  const auto words = [&](const std::string& name) {
    std::vector<std::string> list;
    for (const Json& word : json_member<Json>(settings, name, where)) list.push_back(word.get<std::string>());
    return list;
  };
  try {
    parse_channels(words("mean"), "mean", input.mean);
    parse_channels(words("scale"), "scale", input.scale);
  } catch (const Json::exception&) {
    throw DamageError({"the settings 'mean' and 'scale' are not lists of numbers", where, "train again"});
  }
  return input;
}

void report_resampling(const std::string& trained, const std::string& where) {
  if (trained == kResampling) return;
  log_info("the network's training images were resampled by " + trained + ", and now images are resampled by " +
           kResampling + ": they may look different to it; train again for its full accuracy: " + where);
}

void parse_channels(const std::vector<std::string>& words, const std::string& name, float (&dst)[3]) {
  if (words.size() != 1 && words.size() != 3) {
    throw UsageError({std::to_string(words.size()) + " numbers for three channels", name, "give one number, or three"});
  }
  for (size_t c = 0; c < 3; ++c) dst[c] = static_cast<float>(number_from(words[words.size() == 1 ? 0 : c], name));
}

double number_from(const std::string& word, const std::string& name) {
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  if (word.empty() || *end != '\0' || !std::isfinite(value)) {
    throw UsageError({"'" + word + "' is not a number", name, "give numbers separated by commas"});
  }
  return value;
}

}  // namespace packhorse
