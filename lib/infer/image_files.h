// Images from files, as the user has them, prepared like those of the validation: for prediction.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "feed/augment.h"

namespace packhorse {

/// The images that paths name: a file is itself, a folder all .jpg, .jpeg and .png files in it and below, sorted.
/// Throws a UsageError for a folder without images; a file that is not there is found out when it is read.
std::vector<std::filesystem::path> image_paths(const std::vector<std::string>& named);

/// What became of one file.
struct PreparedImage {
  int width = 0, height = 0;
  std::string problem;  ///< why it could not be read; empty where it was
};

/// Reads `paths` with `threads` threads into `pixels` (N, S, S, 3), S = options.size; a file that cannot be read leaves
/// zeros.
std::vector<PreparedImage> prepare_images(std::span<const std::filesystem::path> paths, const AugmentOptions& options,
                                          int threads, std::span<uint8_t> pixels);

}  // namespace packhorse
