// The images that a user gives for prediction: found, read, and prepared like validation images.
//
// What is named is taken, whatever its name is; a folder or a tar stands for the images in it, by the rule of every
// source (source/image_rule.h). "-" is standard input: a tar, an image, or a list of names, one a line.
// Rule: everything that is named or found is an image here or skipped with a reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "feed/augment.h"
#include "manifest/image_list.h"
#include "source/formats.h"
#include "source/skipped.h"

namespace packhorse {

struct GivenImage {
  std::string name;     ///< as the user knows it: "in/a.jpg", "in.tar/n1/a.jpg", "-/n1/a.jpg"
  ImageEntry entry;     ///< where its bytes are
  std::string problem;  ///< why it need not be opened (a link that leads nowhere, a pipe); usually empty
};

class GivenImages {
 public:
  /// Looks up `named`; a tar in standard input, the descriptor `input`, is kept in a temporary file, which has no name.
  /// Throws an Error if a folder or a tar has no images, or cannot be read, and a UsageError if standard input is not
  /// one of the above. A file that is not there is no error here: prepare_images() reports it.
  explicit GivenImages(const std::vector<std::string>& named, int input = 0);

  const std::vector<GivenImage>& images() const { return images_; }
  const Skipped& skipped() const { return skipped_; }  ///< in the order of what was named, then by path
  /// The files that hold these images, each once: images and tars, but not what came from standard input.
  std::vector<std::filesystem::path> files() const;

  /// Reads the bytes of an image into `dst`; throws an Error if that fails. Any number of threads may call it.
  void read(const GivenImage& image, std::vector<std::byte>& dst) const;

 private:
  void add(const std::string& name);
  void add_source(const std::string& name, const std::filesystem::path& source);
  void add_input(int input);

  std::vector<GivenImage> images_;
  Skipped skipped_;
  Descriptor kept_;  // standard input, if it can be read only once
  std::unique_ptr<ImageBytes> bytes_;
};

/// The result of reading one file.
struct PreparedImage {
  int width = 0, height = 0;
  std::string problem;  ///< why it could not be read; empty if it was read
};

/// Reads `images`, which are some of `given`, with `threads` threads into `pixels` (N, S, S, 3), S = options.size. The
/// pixels of an image that cannot be read are zeros.
std::vector<PreparedImage> prepare_images(const GivenImages& given, std::span<const GivenImage> images,
                                          const AugmentOptions& options, int threads, std::span<uint8_t> pixels);

}  // namespace packhorse
