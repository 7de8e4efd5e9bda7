// Reads image files for prediction and prepares them like validation images.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "feed/augment.h"

namespace packhorse {

/// The image files that `named` stands for: a file stands for itself, a folder for all .jpg, .jpeg and .png files in it
/// and below, sorted. Throws a UsageError for a folder without images. It does not check that files exist:
/// prepare_images() reports those that do not.
std::vector<std::filesystem::path> image_paths(const std::vector<std::string>& named);

/// The result of reading one file.
struct PreparedImage {
  int width = 0, height = 0;
  std::string problem;  ///< why it could not be read; empty if it was read
};

/// Reads `paths` with `threads` threads into `pixels` (N, S, S, 3), S = options.size. The pixels of a file that cannot
/// be read are zeros.
std::vector<PreparedImage> prepare_images(std::span<const std::filesystem::path> paths, const AugmentOptions& options,
                                          int threads, std::span<uint8_t> pixels);

}  // namespace packhorse
