#include "source/formats.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "source/tar_reader.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr std::array kFormats = {
    &kClassTarsFormat,  // before folders: a folder that holds tars and no folders
    &kRecordFormat,     // before folders and listings
    &kFolderFormat,    &kTarFormat,
    &kListingFormat,  // last: any text file
};

}  // namespace

std::span<const SourceFormat* const> source_formats() { return kFormats; }

SourceLook look_at(const fs::path& source) {
  SourceLook look;
  look.path = source;
  look.is_folder = fs::is_directory(source);
  if (look.is_folder) return look;
  const InputFile file(source);
  look.head.resize(std::min<uint64_t>(512, file.bytes()));
  file.read_at(0, look.head);
  look.compression = compression_of(look.head);
  return look;
}

const SourceFormat& format_of(const fs::path& source, std::span<const SourceFormat* const> formats) {
  const SourceLook look = look_at(source);
  for (const SourceFormat* format : formats) {
    if (format->recognise(look)) return *format;
  }
  if (!look.compression.empty()) {
    throw Error({"the file is compressed with " + look.compression + ", so its images cannot be read in place",
                 source.string(),
                 "decompress it first (compression does not make JPEGs smaller), and give the plain tar"});
  }
  const std::string_view head(reinterpret_cast<const char*>(look.head.data()), look.head.size());
  if (head.starts_with("\xff\xfe") || head.starts_with("\xfe\xff")) {
    throw Error({"the listing is in UTF-16", source.string(), "save it as UTF-8"});
  }
  throw Error({"neither a folder, nor a tar, nor a .rec file, nor a listing", source.string(),
               "see data_manifests/README.md for the forms that a source can have"});
}

}  // namespace packhorse
