#include "demo/demo_data.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>

#include <fmt/core.h>
#include <zlib.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "demo/tar_writer.h"
#include "image/jpeg.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr int kSide = 28, kQuality = 98;
constexpr size_t kImage = size_t{kSide} * kSide;
/// WordNet ids of Fashion-MNIST's classes 0 to 9.
constexpr std::array kClassIds = {"n03595614", "n04489008", "n04021028", "n03236735", "n03057021",
                                  "n04133789", "n04197391", "n03472535", "n02774152", "n02872752"};
constexpr std::array kFiles = {"train.tar", "validation.tar", "validation_ground_truth.txt"};

/// The decompressed content of a gzip file.
std::vector<uint8_t> inflate_file(const fs::path& path) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), &gzclose);
  if (file == nullptr) throw_errno("cannot open (a file of Debian's package dataset-fashion-mnist)", path.string());
  std::vector<uint8_t> bytes;
  std::array<uint8_t, 1 << 16> part{};
  int got = 0;
  while ((got = gzread(file.get(), part.data(), part.size())) > 0)
    bytes.insert(bytes.end(), part.data(), part.data() + got);
  if (got < 0) {
    throw DamageError({"the gzip file is damaged or truncated", path.string(), "install dataset-fashion-mnist again"});
  }
  return bytes;
}

/// One half of the data set: images and labels, read from two IDX files (big-endian headers of 16 and 8 bytes).
struct Half {
  std::vector<uint8_t> images;  // (N, 28, 28)
  std::vector<uint8_t> labels;  // (N)
  size_t count() const { return labels.size(); }
  std::span<const uint8_t> image(size_t i) const { return std::span(images).subspan(i * kImage, kImage); }
};

Half read_half(const fs::path& folder, const std::string& name) {
  const fs::path image_path = folder / (name + "-images-idx3-ubyte.gz");
  const fs::path label_path = folder / (name + "-labels-idx1-ubyte.gz");
  std::vector<uint8_t> images = inflate_file(image_path), labels = inflate_file(label_path);
  constexpr std::array<uint8_t, 4> kImageMagic = {0, 0, 8, 3}, kLabelMagic = {0, 0, 8, 1};
  if (labels.size() < 8 || !std::equal(kLabelMagic.begin(), kLabelMagic.end(), labels.begin())) {
    throw DamageError({"not an IDX file with labels", label_path.string(), ""});
  }
  labels.erase(labels.begin(), labels.begin() + 8);
  if (images.size() != 16 + labels.size() * kImage ||
      !std::equal(kImageMagic.begin(), kImageMagic.end(), images.begin())) {
    throw DamageError({"not an IDX file with one 28x28 image per label", image_path.string(), ""});
  }
  images.erase(images.begin(), images.begin() + 16);
  if (std::any_of(labels.begin(), labels.end(), [](uint8_t label) { return label >= kClassIds.size(); })) {
    throw DamageError({"a label above 9", label_path.string(), ""});
  }
  return {std::move(images), std::move(labels)};
}

std::vector<std::byte> jpeg_of(const Half& half, size_t i) {
  return encode_grey_jpeg(half.image(i), kSide, kSide, kQuality);
}

/// Writes the first `per_class` images of each class, in the order of the data set, one tar per class.
size_t write_train(const fs::path& path, const Half& half, int per_class, Progress& progress) {
  TarWriter whole(path);
  size_t written = 0;
  // Class tars are in the order of their names, as in the release, not in the order of the labels.
  std::vector<uint8_t> order(kClassIds.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint8_t>(i);
  std::sort(order.begin(), order.end(),
            [](uint8_t a, uint8_t b) { return std::string_view(kClassIds[a]) < kClassIds[b]; });
  for (const uint8_t label : order) {
    const std::string id = kClassIds[label];
    std::vector<std::byte> bytes;
    TarWriter tar(bytes);
    int number = 0;
    for (size_t i = 0; i < half.count() && number < per_class; ++i) {
      if (half.labels[i] != label) continue;
      tar.add(id + "_" + std::to_string(++number) + ".JPEG", jpeg_of(half, i));
      progress.add();
    }
    tar.finish();
    whole.add(id + ".tar", bytes);
    written += static_cast<size_t>(number);
  }
  whole.finish();
  return written;
}

/// Writes the first `per_class` images of each class to one flat tar, in the order of the data set, and their classes.
size_t write_validation(const fs::path& folder, const Half& half, int per_class, Progress& progress) {
  TarWriter tar(folder / kFiles[1]);
  std::string truth;
  std::array<int, kClassIds.size()> taken{};
  size_t written = 0;
  for (size_t i = 0; i < half.count(); ++i) {
    if (taken[half.labels[i]]++ >= per_class) continue;
    const std::string name = fmt::format("FashionMNIST_val_{:08}.JPEG", ++written);
    tar.add(name, jpeg_of(half, i));
    truth += name + " " + kClassIds[half.labels[i]] + "\n";
    progress.add();
  }
  tar.finish();
  write_text(folder / kFiles[2], truth);
  return written;
}

/// True if `folder` already holds the data: made with the same settings, and each file has its recorded size.
bool made_before(const fs::path& folder, const Json& settings) {
  const fs::path note = folder / "demo-data.json";
  if (!fs::exists(note)) return false;
  const Json json = read_json(note);
  if (json.value("settings", Json()) != settings) return false;
  return std::all_of(kFiles.begin(), kFiles.end(), [&](const char* name) {
    std::error_code missing;
    const uint64_t bytes = fs::file_size(folder / name, missing);
    return !missing && json["bytes"].value(name, uint64_t{0}) == bytes;
  });
}

}  // namespace

std::string make_demo_data(const fs::path& folder, const DemoDataOptions& options, const Json& settings) {
  if (made_before(folder, settings)) return "the demo data is already in " + folder.string();
  const Half train = read_half(options.source, "train"), validation = read_half(options.source, "t10k");
  make_folder(folder);
  fs::remove(folder / "demo-data.json");
  Progress progress("demo data", "images",
                    kClassIds.size() * static_cast<size_t>(options.train_per_class + options.validation_per_class));
  const size_t trained = write_train(folder / kFiles[0], train, options.train_per_class, progress);
  const size_t validated = write_validation(folder, validation, options.validation_per_class, progress);
  Json note = {{"settings", settings}, {"train", trained}, {"validation", validated}, {"bytes", Json::object()}};
  for (const char* name : kFiles) note["bytes"][name] = fs::file_size(folder / name);
  write_json(folder / "demo-data.json", note);
  return fmt::format("wrote {} training and {} validation images of {} classes to {}, {}", grouped(trained),
                     grouped(validated), kClassIds.size(), folder.string(), duration_text(progress.seconds()));
}

}  // namespace packhorse
