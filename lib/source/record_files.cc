// Records as MXNet's im2rec writes them: a .rec file, or a folder of them. The label of a record names its class; no
// index is needed.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/text.h"
#include "record/record_scan.h"
#include "record/recordio.h"
#include "source/class_images.h"
#include "source/formats.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

bool is_record_file(const fs::path& path) { return extension_of(path.filename().string()) == ".rec"; }

/// A folder that holds .rec files, and neither folders nor files that their names say are images: shards may have been
/// packed into the folder of their images.
bool is_record_folder(const fs::path& folder) {
  bool records = false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool image = !why_not_image(name, [] { return std::optional<std::vector<std::byte>>(); });
    if (entry.is_directory() || image) return false;
    records = records || is_record_file(entry.path());
  }
  return records;
}

bool recognise(const SourceLook& look) {
  return look.is_folder ? is_record_folder(look.path) : look.compression.empty() && is_record_file(look.path);
}

/// The .rec files of the source by name. What else a folder holds is skipped, but for im2rec's indexes and lists.
std::vector<fs::path> files_of(const fs::path& source, ClassImages& outside) {
  if (!fs::is_directory(source)) return {source};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string(), extension = extension_of(name);
    if (is_record_file(entry.path())) {
      files.push_back(entry.path());
    } else if (extension != ".idx" && extension != ".lst") {
      outside.skip(SkipReason::not_image, name);
      ++outside.found;
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

SourceImages list(const fs::path& source, Labels labels) {
  ClassImages outside;
  std::map<uint32_t, ClassImages> by_label;
  for (const fs::path& path : files_of(source, outside)) {
    const InputFile file(path);
    uint64_t number = 0;
    for (const RecordPlace& record : scan_records(file)) {
      const uint32_t label = labels == Labels::elsewhere ? 0 : record.label;
      ClassImages& each = by_label[label];
      each.id = std::to_string(label);
      ++each.found;
      ImageEntry image;
      image.path = path.filename().string();
      image.member = std::to_string(number++);
      image.offset = record.offset;
      image.bytes = record.bytes;
      each.images.push_back(std::move(image));
    }
  }
  std::vector<ClassImages> classes;
  classes.reserve(by_label.size());
  for (auto& [label, each] : by_label) classes.push_back(std::move(each));
  SourceImages result = join_classes(std::move(classes), std::move(outside), source);
  result.classes_may_be_indexes = true;
  if (labels == Labels::elsewhere) result.classes.clear();
  return result;
}

/// An entry's bytes are a whole record, of which only the image is wanted.
class RecordedImages : public ImageBytes {
 public:
  explicit RecordedImages(const fs::path& root) : records_(open_byte_ranges(root)) {}

  void read(const ImageEntry& entry, std::vector<std::byte>& dst) const override {
    records_->read(entry, dst);
    const auto image = parse_record(dst, entry.name()).image;
    std::memmove(dst.data(), image.data(), image.size());
    dst.resize(image.size());
  }

 private:
  std::unique_ptr<ImageBytes> records_;
};

}  // namespace

const SourceFormat kRecordFormat = {
    .recognise = recognise,
    .describe = [](const SourceLook& look, Labels) -> std::string {
      return look.is_folder ? "a folder of RecordIO files" : "a RecordIO file";
    },
    .list = list,
    .open = [](const fs::path& root) -> std::unique_ptr<ImageBytes> { return std::make_unique<RecordedImages>(root); }};

}  // namespace packhorse
