#include "infer/image_files.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "image/decode.h"
#include "source/image_rule.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

constexpr const char* kInput = "standard input";
constexpr const char* kDescriptors = "/proc/self/fd/";

/// Why a file that a user named need not be opened.
std::string known_problem(const fs::path& path) {
  std::error_code failed;
  const fs::file_type type = fs::status(path, failed).type();
  if (fs::is_symlink(fs::symlink_status(path, failed)) && type != fs::file_type::regular) {
    const std::string target = fs::read_symlink(path, failed).string();
    if (type == fs::file_type::not_found) return "a link to '" + target + "', where nothing is";
    if (type == fs::file_type::none) return "a link to '" + target + "', which cannot be followed";
  }
  const bool usual = type == fs::file_type::regular || type == fs::file_type::not_found || type == fs::file_type::none;
  return usual ? "" : "a pipe, a socket or a device, not a file ('-' reads standard input)";
}

bool is_tar(const fs::path& path) {
  const auto reason = why_not_image(path.filename().string(), [] { return std::optional<std::vector<std::byte>>(); });
  if (!reason) return false;  // its name says that it is an image
  if (*reason == SkipReason::tar) return true;
  try {
    return kTarFormat.recognise(look_at(path));
  } catch (const Error&) {
    return false;  // reported when it is read as an image
  }
}

void write_all(int fd, std::span<const std::byte> bytes, const fs::path& folder) {
  while (!bytes.empty()) {
    const ssize_t put = write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      throw Error({std::string("cannot keep ") + kInput + " (" + std::strerror(errno) + ")", folder.string(),
                   "set TMPDIR to a folder with enough space"});
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

/// Copies what comes from `input` to a file without a name: a tar is read in more than one place.
Descriptor keep(int input) {
  const fs::path folder = fs::temp_directory_path();
  std::string name = (folder / "packhorse-XXXXXX").string();
  Descriptor file(mkstemp(name.data()));
  if (file.get() < 0) throw_errno("cannot create a temporary file", folder.string());
  unlink(name.c_str());
  std::vector<std::byte> buffer(size_t{1} << 16);
  for (;;) {
    const ssize_t got = ::read(input, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("cannot read", kInput);
    if (got == 0) return file;
    write_all(file.get(), std::span(buffer).first(static_cast<size_t>(got)), folder);
  }
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte-order mark
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.emplace_back(line);
  }
  return lines;
}

PreparedImage prepare(std::span<const std::byte> bytes, const AugmentOptions& options, DecodedImage& scratch,
                      uint8_t* dst) {
  PreparedImage prepared;
  const Size image = read_image_size(bytes);
  prepared.width = image.width;
  prepared.height = image.height;
  decode_crop(bytes, image, evaluation_crop(options, image.width, image.height), options.size, scratch, dst);
  return prepared;
}

}  // namespace

GivenImages::GivenImages(const std::vector<std::string>& named, int input) : bytes_(open_stored_images("")) {
  if (std::count(named.begin(), named.end(), "-") > 1) {
    throw UsageError({"'-' is given twice", "", "standard input can be read once"});
  }
  for (const std::string& name : named) {
    if (name == "-") {
      add_input(input);
    } else {
      add(name);
    }
  }
}

std::vector<fs::path> GivenImages::files() const {
  std::set<std::string> seen;
  std::vector<fs::path> files;
  for (const GivenImage& image : images_) {
    const std::string& path = image.entry.path;
    if (path.starts_with(kDescriptors) || !image.problem.empty() || !fs::is_regular_file(path)) continue;
    if (seen.insert(path).second) files.emplace_back(path);
  }
  return files;
}

void GivenImages::read(const GivenImage& image, std::vector<std::byte>& dst) const { bytes_->read(image.entry, dst); }

void GivenImages::add(const std::string& name) {
  const fs::path path = name;
  std::error_code failed;  // then it is no folder, and reading it will say why
  if (fs::is_directory(path, failed)) return add_source(name, path);
  GivenImage image{name, {}, known_problem(path)};
  if (image.problem.empty() && is_tar(path)) return add_source(name, path);
  image.entry.path = name;
  images_.push_back(std::move(image));
}

void GivenImages::add_source(const std::string& name, const fs::path& source) {
  SourceImages found = list_source(source, Labels::elsewhere);
  const fs::path root = root_of_source(source);
  // In a tar, paths begin with the tar's own name.
  const bool tar = root != source;
  const auto name_of = [&](const std::string& path) {
    return tar ? name + path.substr(path.find('/')) : (fs::path(name) / path).string();
  };
  for (ImageEntry& entry : found.images) {
    GivenImage image{name_of(entry.name()), std::move(entry), ""};
    image.entry.path = (root / image.entry.path).string();
    images_.push_back(std::move(image));
  }
  for (const SkippedEntry& entry : found.skipped) skipped_.push_back({entry.reason, name_of(entry.path)});
}

void GivenImages::add_input(int input) {
  // A file can be read where it is, if nobody has begun to.
  fs::path source = kDescriptors + std::to_string(input);
  if (!fs::is_regular_file(source) || lseek(input, 0, SEEK_CUR) != 0) {
    kept_ = keep(input);
    source = kDescriptors + std::to_string(kept_.get());
  }
  const SourceLook look = look_at(source);
  if (look.head.empty()) {
    throw UsageError({"standard input is empty", "", "write a tar, an image, or names of files to it, one a line"});
  }
  if (!look.compression.empty()) {
    throw UsageError({"standard input is compressed with " + look.compression, "",
                      "decompress it on the way, as in: gzip -dc images.tar.gz | packhorse-predict MANIFEST -"});
  }
  if (kTarFormat.recognise(look)) {
    try {
      return add_source("-", source);
    } catch (const Error& error) {
      throw Error({error.text().what, kInput, error.text().hint});
    }
  }
  if (!why_not_image("input", [&] { return std::optional(look.head); })) {
    GivenImage image{"-", {}, ""};
    image.entry.path = source.string();
    images_.push_back(std::move(image));
    return;
  }
  if (std::find(look.head.begin(), look.head.end(), std::byte{0}) != look.head.end()) {
    throw UsageError({"standard input is neither a tar, nor an image, nor a list of names", "",
                      "write the names of files to it, one a line"});
  }
  const std::vector<std::string> names = lines_of(read_text(source));
  if (names.empty()) throw UsageError({"standard input names no file", "", "write names of files to it, one a line"});
  for (const std::string& name : names) add(name);
}

std::vector<PreparedImage> prepare_images(const GivenImages& given, std::span<const GivenImage> images,
                                          const AugmentOptions& options, int threads, std::span<uint8_t> pixels) {
  std::vector<PreparedImage> prepared(images.size());
  const size_t bytes = static_cast<size_t>(options.size) * static_cast<size_t>(options.size) * 3;
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;  // of the machine: the first one ends all
  const auto prepare_rest = [&] {
    DecodedImage scratch;
    std::vector<std::byte> file;
    for (size_t i = next++; i < images.size(); i = next++) {
      uint8_t* dst = pixels.data() + i * bytes;
      prepared[i].problem = images[i].problem;
      try {
        if (prepared[i].problem.empty()) {
          given.read(images[i], file);
          prepared[i] = prepare(file, options, scratch, dst);
        }
      } catch (const SystemError&) {
        throw;
      } catch (const Error& error) {
        prepared[i].problem = error.text().what;
      }
      if (!prepared[i].problem.empty()) std::fill_n(dst, bytes, uint8_t{0});
    }
  };
  const auto work = [&] {
    try {
      prepare_rest();
    } catch (...) {
      next = images.size();
      const std::lock_guard lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
  };
  std::vector<std::jthread> workers;
  for (int i = 1; i < std::min<int>(threads, static_cast<int>(images.size())); ++i) workers.emplace_back(work);
  work();
  workers.clear();  // all are done
  if (failure != nullptr) std::rethrow_exception(failure);
  return prepared;
}

}  // namespace packhorse
