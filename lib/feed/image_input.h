// How an image becomes the network's input: its size, and how its 8-bit pixels are normalised.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace packhorse {

struct ImageInput {
  int size = 224;  ///< width and height of the network's input, in pixels
  int resize = 0;  ///< short edge before a crop of fixed size, in pixels; 0: derived from size, see short_edge()
  float mean[3] = {117, 117, 117};  ///< subtracted from the red, green and blue pixels
  float scale[3] = {1, 1, 1};       ///< multiplies them after that

  /// Short edge before a crop of fixed size, in pixels: `resize`, or 8/7 of the size (256 for 224), or the size itself
  /// up to 64 pixels.
  int short_edge() const;
};

/// Reads it from a checkpoint's settings. Throws an Error that names `where` if a setting is missing or malformed.
ImageInput image_input_from(const Json& settings, int64_t image_size, const std::string& where);

/// If the images that a network was trained on were resampled in another way than this version resamples them
/// (kResampling), says so in the log; `trained` is the checkpoint's resampling, `where` its path.
void report_resampling(const std::string& trained, const std::string& where);

/// Parses one number for all three channels, or three. Throws a UsageError that names the setting.
void parse_channels(const std::vector<std::string>& words, const std::string& name, float (&dst)[3]);

/// Parses a number. Throws a UsageError that names the setting.
double number_from(const std::string& word, const std::string& name);

}  // namespace packhorse
