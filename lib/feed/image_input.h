// How an image becomes the input of a network: its size, and the numbers that its 8-bit pixels become.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace packhorse {

struct ImageInput {
  int size = 224;                   ///< pixels on a side of what the network gets
  int resize = 0;                   ///< short edge before a crop of fixed size; 0: derived from size, see short_edge()
  float mean[3] = {117, 117, 117};  ///< subtracted from the red, green and blue pixels
  float scale[3] = {1, 1, 1};       ///< then multiplied

  /// Short edge before a crop of fixed size: `resize`, or 8/7 of the size (256 for 224); small images are taken whole.
  int short_edge() const;
};

/// What a checkpoint's settings say. Throws an Error that names `where` if a setting is missing or malformed.
ImageInput image_input_from(const Json& settings, int64_t image_size, const std::string& where);

/// One number for all three channels, or three; throws a UsageError that names the setting.
void parse_channels(const std::vector<std::string>& words, const std::string& name, float (&dst)[3]);

/// The number that a word spells; throws a UsageError that names the setting.
double number_from(const std::string& word, const std::string& name);

}  // namespace packhorse
