// Synthetic images for tests, and data sets of them in every form that the pipeline reads.
//
// The images of a class have stripes at the class's angle on a background of the class's colour, with noise: a small
// network can learn them. The pixels depend only on (class, number) and the size.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/philox.h"
#include "demo/tar_writer.h"
#include "image/jpeg.h"

namespace packhorse::test {

inline DecodedImage make_image(uint32_t label, uint32_t number, int width, int height) {
  RandomStream random(7, RandomUse::test, label, number);
  DecodedImage image{width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  const float angle = 0.37F * static_cast<float>(label), shift = random.uniform(0, 6.28F);
  const float step = 16.0F / static_cast<float>(std::max(width, height));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const float wave =
          std::sin((std::cos(angle) * static_cast<float>(x) + std::sin(angle) * static_cast<float>(y)) * step + shift);
      for (uint32_t c = 0; c < 3; ++c) {
        const float ground = static_cast<float>((label * (37 + 40 * c)) % 160) + 48.0F;
        const float value = ground + 40.0F * wave + random.uniform(-8, 8);
        image.pixels[static_cast<size_t>((y * width + x) * 3) + c] =
            static_cast<uint8_t>(std::clamp(value, 0.0F, 255.0F));
      }
    }
  }
  return image;
}

/// The content of a synthetic data set.
struct ImageSet {
  uint32_t classes = 10;
  uint32_t per_class = 20;
  int smallest = 32, largest = 32;  ///< range of both sides, in pixels
  bool some_grey = false;           ///< every fifth image is a grey JPEG
  uint32_t broken = 0;              ///< the first image of this many classes is truncated
};

inline std::vector<std::byte> encode_member(const ImageSet& set, uint32_t label, uint32_t number) {
  RandomStream random(11, RandomUse::test, label, number);
  const auto spread = static_cast<uint32_t>(set.largest - set.smallest + 1);
  const int width = set.smallest + static_cast<int>(random.below(spread));
  const int height = set.smallest + static_cast<int>(random.below(spread));
  const DecodedImage image = make_image(label, number, width, height);
  std::vector<std::byte> bytes;
  if (set.some_grey && number % 5 == 4) {
    std::vector<uint8_t> grey(image.pixels.size() / 3);
    for (size_t i = 0; i < grey.size(); ++i) grey[i] = image.pixels[3 * i];
    bytes = encode_grey_jpeg(grey, width, height, 92);
  } else {
    bytes = encode_jpeg(image, 92);
  }
  if (number == 0 && label < set.broken) bytes.resize(bytes.size() / 2);
  return bytes;
}

inline std::string class_id(uint32_t label) {
  const std::string number = std::to_string(label);
  return "class_" + std::string(4 - std::min<size_t>(4, number.size()), '0') + number;
}
inline std::string member_name(uint32_t label, uint32_t number) {
  return class_id(label) + "_" + std::to_string(number) + ".JPEG";
}

inline void write_bytes(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  make_folder(path.parent_path());
  OutputFile file(path);
  file.write(bytes);
  file.commit();
}

/// One folder per class.
inline void write_folders(const std::filesystem::path& root, const ImageSet& set) {
  for (uint32_t label = 0; label < set.classes; ++label) {
    for (uint32_t i = 0; i < set.per_class; ++i) {
      write_bytes(root / class_id(label) / member_name(label, i), encode_member(set, label, i));
    }
  }
}

/// A tar of class tars.
inline void write_tar_of_tars(const std::filesystem::path& path, const ImageSet& set) {
  TarWriter whole(path);
  for (uint32_t label = 0; label < set.classes; ++label) {
    std::vector<std::byte> bytes;
    TarWriter tar(bytes);
    for (uint32_t i = 0; i < set.per_class; ++i) tar.add(member_name(label, i), encode_member(set, label, i));
    tar.finish();
    whole.add(class_id(label) + ".tar", bytes);
  }
  whole.finish();
}

/// All files in one folder, and a listing of them next to it.
inline void write_listing(const std::filesystem::path& root, const ImageSet& set) {
  std::string lines;
  for (uint32_t label = 0; label < set.classes; ++label) {
    for (uint32_t i = 0; i < set.per_class; ++i) {
      write_bytes(root / "images" / member_name(label, i), encode_member(set, label, i));
      lines += "images/" + member_name(label, i) + "\t" + class_id(label) + "\n";
    }
  }
  write_text(root / "listing.tsv", lines);
}

}  // namespace packhorse::test
