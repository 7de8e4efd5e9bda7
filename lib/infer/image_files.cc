#include "infer/image_files.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "image/decode.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

bool has_image_name(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static constexpr std::array<std::string_view, 3> kNames{".jpg", ".jpeg", ".png"};
  return std::find(kNames.begin(), kNames.end(), extension) != kNames.end();
}

void add_folder(const fs::path& folder, std::vector<fs::path>& paths) {
  std::vector<fs::path> found;
  size_t others = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    if (has_image_name(entry.path())) {
      found.push_back(entry.path());
    } else {
      ++others;
    }
  }
  if (found.empty())
    throw UsageError({"there are no .jpg, .jpeg or .png files", folder.string(), "choose another folder"});
  if (others > 0) log_info("skipped " + counted(others, "file") + " without an image extension: " + folder.string());
  std::sort(found.begin(), found.end());
  paths.insert(paths.end(), found.begin(), found.end());
}

PreparedImage prepare(const fs::path& path, const AugmentOptions& options, DecodedImage& scratch, uint8_t* dst) {
  PreparedImage prepared;
  const std::string file = read_text(path);
  const auto bytes = std::as_bytes(std::span(file));
  if (image_format(bytes) == "JPEG") {
    const JpegInfo info = read_jpeg_info(bytes);
    prepared.width = info.width;
    prepared.height = info.height;
    decode_crop(bytes, info, evaluation_crop(options, info.width, info.height), options.size, scratch, dst);
  } else {
    decode_image(bytes, scratch);
    prepared.width = scratch.width;
    prepared.height = scratch.height;
    resample_crop(scratch, evaluation_crop(options, scratch.width, scratch.height), options.size, dst);
  }
  return prepared;
}

}  // namespace

std::vector<fs::path> image_paths(const std::vector<std::string>& named) {
  std::vector<fs::path> paths;
  for (const std::string& name : named) {
    if (fs::is_directory(name)) {
      add_folder(name, paths);
    } else {
      paths.emplace_back(name);
    }
  }
  return paths;
}

std::vector<PreparedImage> prepare_images(std::span<const fs::path> paths, const AugmentOptions& options, int threads,
                                          std::span<uint8_t> pixels) {
  std::vector<PreparedImage> prepared(paths.size());
  const size_t bytes = static_cast<size_t>(options.size) * static_cast<size_t>(options.size) * 3;
  std::atomic<size_t> next{0};
  const auto work = [&] {
    DecodedImage scratch;
    for (size_t i = next++; i < paths.size(); i = next++) {
      uint8_t* dst = pixels.data() + i * bytes;
      try {
        prepared[i] = prepare(paths[i], options, scratch, dst);
      } catch (const Error& error) {
        prepared[i].problem = error.text().what;
        std::fill_n(dst, bytes, uint8_t{0});
      }
    }
  };
  std::vector<std::jthread> workers;
  for (int i = 1; i < std::min<int>(threads, static_cast<int>(paths.size())); ++i) workers.emplace_back(work);
  work();
  return prepared;
}

}  // namespace packhorse
