#include "source/source.h"

#include <tbb/parallel_for.h>
#include <tbb/parallel_sort.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "source/ground_truth.h"
#include "source/tar_reader.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

using Skipped = std::map<std::string, uint64_t>;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string extension_of(const std::string& name) {
  const std::string base = name.substr(name.rfind('/') + 1);
  const size_t point = base.rfind('.');
  return point == std::string::npos ? "" : lower(base.substr(point));
}

bool is_hidden(const std::string& name) {
  return name.starts_with('.') || name.find("/.") != std::string::npos || name.starts_with("__MACOSX/");
}

/// Whether a file counts as a picture; what does not is counted.
bool is_picture(const std::string& name, Skipped& skipped) {
  static constexpr std::array kExtensions = {"",     ".jpg",  ".jpeg", ".jpe", ".jfif", ".png",
                                             ".gif", ".webp", ".bmp",  ".tif", ".tiff"};
  if (is_hidden(name)) {
    ++skipped["hidden files"];
    return false;
  }
  const std::string extension = extension_of(name);
  if (std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end()) return true;
  ++skipped[extension + " files"];
  return false;
}

bool is_tar(const std::string& name) { return extension_of(name) == ".tar" && !is_hidden(name); }

/// "n01440764.tar" is class n01440764's.
std::string class_of_tar(const std::string& name) {
  const std::string base = name.substr(name.rfind('/') + 1);
  return base.substr(0, base.size() - 4);
}

/// What one class, or one flat source, gave.
struct Part {
  std::string id;
  std::vector<ImageEntry> images;
  Skipped skipped;
};

void add(const Skipped& from, Skipped& to) {
  for (const auto& [what, count] : from) to[what] += count;
}

/// Calls `walk` for each part on all cores; the first error ends it.
template <typename Walk>
void walk_parts(std::vector<Part>& parts, const Walk& walk) {
  constexpr size_t kFew = 1000;  // walked before a line could be read
  Progress progress("list", "classes", parts.size(), parts.size() < kFew);
  tbb::parallel_for(size_t{0}, parts.size(), [&](size_t i) {
    walk(parts[i], i);
    progress.add();
  });
}

/// Ids in order; those that are whole numbers by their value.
bool id_less(const Part& a, const Part& b) {
  const auto is_number = [](const std::string& id) { return id.find_first_not_of("0123456789") == std::string::npos; };
  const auto key = [&](const Part& part) { return is_number(part.id) ? part.id.size() : SIZE_MAX; };
  return std::pair(key(a), std::string_view(a.id)) < std::pair(key(b), std::string_view(b.id));
}

/// Puts parts together in the order of their ids and refuses classes without a picture and pictures that stand twice.
void join(std::vector<Part> parts, const fs::path& source, Found& found) {
  std::sort(parts.begin(), parts.end(), id_less);
  std::vector<std::string> empty;
  uint64_t total = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (std::any_of(parts[i].id.begin(), parts[i].id.end(), [](unsigned char c) { return c < ' '; })) {
      throw Error({"a class's name with a control character: '" + escape_name(parts[i].id) + "'", source.string(),
                   "rename it: names of classes stand in text files"});
    }
    if (parts[i].images.empty()) empty.push_back(parts[i].id);
    if (i > 0 && parts[i].id == parts[i - 1].id) {
      throw Error({"the class '" + parts[i].id + "' stands twice", source.string(), "join the two, or rename one"});
    }
    total += parts[i].images.size();
  }
  if (!empty.empty()) {
    const std::string more = empty.size() > 1 ? " (and " + grouped(empty.size() - 1) + " more)" : "";
    throw Error({"no picture of class '" + empty.front() + "'" + more, source.string(),
                 "remove the empty class, or restore its pictures"});
  }
  found.images.reserve(total);
  for (Part& part : parts) {
    const auto label = static_cast<uint32_t>(found.classes.size());
    for (ImageEntry& image : part.images) {
      image.label = label;
      found.images.push_back(std::move(image));
    }
    found.classes.push_back(part.id);
    add(part.skipped, found.skipped);
    part = Part{};
  }
}

void sort_and_check(const fs::path& source, std::vector<ImageEntry>& images) {
  const auto key = [](const ImageEntry& image) {
    return std::tie(image.label, image.path, image.member, image.offset);
  };
  tbb::parallel_sort(images.begin(), images.end(),
                     [&](const ImageEntry& a, const ImageEntry& b) { return key(a) < key(b); });
  const auto same = std::adjacent_find(images.begin(), images.end(), [](const ImageEntry& a, const ImageEntry& b) {
    return a.path == b.path && a.member == b.member && a.label == b.label;
  });
  if (same != images.end()) {
    throw Error({"'" + same->name() + "' stands twice", source.string(), "remove one of the two"});
  }
}

// ---- folders ----

/// All pictures below `folder`; links to folders are not followed, so no walk is endless.
void walk_folder(const fs::path& root, const fs::path& folder, Part& part) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory()) continue;
    if (!is_picture(entry.path().filename().string(), part.skipped)) continue;
    if (!entry.is_regular_file() && !entry.is_symlink()) {  // a pipe would keep its reader waiting for ever
      ++part.skipped["pipes, sockets and devices"];
      continue;
    }
    ImageEntry image;
    image.path = entry.path().lexically_relative(root).generic_string();
    part.images.push_back(std::move(image));
  }
}

struct FolderLook {
  std::vector<std::string> folders, tars;
  uint64_t pictures = 0;
  Skipped skipped;
};

FolderLook look_at_folder(const fs::path& folder) {
  FolderLook look;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !is_hidden(name)) {
      look.folders.push_back(name);
    } else if (is_tar(name)) {
      look.tars.push_back(name);
    } else if (is_picture(name, look.skipped)) {
      ++look.pictures;
    }
  }
  return look;
}

void take_tar_member(const std::string& archive, const TarMember& member, const std::string& prefix, Part& part) {
  if (!is_picture(member.name, part.skipped)) return;
  ImageEntry image;
  image.path = archive;
  image.member = prefix + member.name;
  image.offset = member.offset;
  image.bytes = member.bytes;
  part.images.push_back(std::move(image));
}

void count_others(uint64_t others, Skipped& skipped) {
  if (others > 0) skipped["links and special members"] += others;
}

/// The pictures of a whole tar file, as one class or as a flat source.
void walk_tar_file(const fs::path& root, const std::string& name, Part& part) {
  const InputFile file(root / name);
  const TarContents contents = read_tar(file, 0, file.bytes(), file.path().string());
  count_others(contents.others, part.skipped);
  for (const TarMember& member : contents.members) take_tar_member(name, member, "", part);
}

void enumerate_folder(const fs::path& source, Labels labels, Found& found) {
  const FolderLook look = look_at_folder(source);
  std::vector<Part> parts;
  if (labels == Labels::elsewhere) {
    Part part;
    walk_folder(source, source, part);
    found.images = std::move(part.images);
    found.skipped = std::move(part.skipped);
    return;
  }
  found.skipped = look.skipped;
  if (look.pictures > 0) found.skipped["pictures outside of any class's folder"] += look.pictures;
  const bool by_folder = !look.folders.empty();
  if (by_folder && !look.tars.empty()) found.skipped["tars beside the classes' folders"] += look.tars.size();
  for (const std::string& name : by_folder ? look.folders : look.tars) {
    parts.push_back({by_folder ? name : class_of_tar(name), {}, {}});
  }
  walk_parts(parts, [&](Part& part, size_t i) {
    if (by_folder) {
      walk_folder(source, source / part.id, part);
    } else {
      walk_tar_file(source, look.tars[i], part);
    }
  });
  join(std::move(parts), source, found);
}

// ---- tars ----

/// The folders that a member's name goes through.
std::vector<std::string_view> folders_of(std::string_view name) {
  std::vector<std::string_view> folders;
  for (size_t slash = name.find('/'); slash != std::string_view::npos; slash = name.find('/')) {
    folders.push_back(name.substr(0, slash));
    name.remove_prefix(slash + 1);
  }
  return folders;
}

/// How many folders all members share before the classes' own ("train/" in train/n01440764/x.JPEG): at least one
/// folder is left to every picture. Nothing where a picture lies in no folder.
std::optional<size_t> shared_folders(const std::vector<TarMember>& members) {
  std::optional<std::vector<std::string_view>> shared;
  for (const TarMember& member : members) {
    auto folders = folders_of(member.name);
    if (folders.empty()) return std::nullopt;
    folders.pop_back();
    if (!shared) {
      shared = folders;
    } else {
      const auto [end, other] = std::mismatch(shared->begin(), shared->end(), folders.begin(), folders.end());
      shared->erase(end, shared->end());
    }
  }
  return shared ? std::optional(shared->size()) : std::nullopt;
}

/// A tar whose members are tars, a class each.
void enumerate_tar_of_tars(const InputFile& file, const std::vector<TarMember>& tars, Found& found) {
  const std::string name = file.path().filename().string();
  std::vector<Part> parts;
  parts.reserve(tars.size());
  for (const TarMember& tar : tars) parts.push_back({class_of_tar(tar.name), {}, {}});
  walk_parts(parts, [&](Part& part, size_t i) {
    const std::string where = file.path().string() + "/" + tars[i].name;
    if (tars[i].bytes == 0) throw DamageError({"an empty class tar", where, "remove it, or restore its pictures"});
    const TarContents contents = read_tar(file, tars[i].offset, tars[i].bytes, where);
    count_others(contents.others, part.skipped);
    for (const TarMember& member : contents.members) take_tar_member(name, member, tars[i].name + "/", part);
  });
  join(std::move(parts), file.path(), found);
}

void enumerate_tar_with_folders(const InputFile& file, const std::vector<TarMember>& pictures, Found& found) {
  if (pictures.empty()) return;
  const auto shared = shared_folders(pictures);
  if (!shared) {
    throw Error({"pictures in no class's folder, and no ground truth", file.path().string(),
                 "name a \"ground_truth\" file in the description, or put a folder a class into the tar"});
  }
  std::map<std::string, Part> by_class;
  for (const TarMember& picture : pictures) {
    const std::string id(folders_of(picture.name)[*shared]);
    Part& part = by_class[id];
    part.id = id;
    take_tar_member(file.path().filename().string(), picture, "", part);
  }
  std::vector<Part> parts;
  parts.reserve(by_class.size());
  for (auto& [id, part] : by_class) parts.push_back(std::move(part));
  join(std::move(parts), file.path(), found);
}

void enumerate_tar(const fs::path& source, Labels labels, Found& found) {
  const InputFile file(source);
  TarContents contents = read_tar(file, 0, file.bytes(), source.string());
  count_others(contents.others, found.skipped);
  std::vector<TarMember> tars, pictures;
  for (TarMember& member : contents.members) {
    if (is_tar(member.name)) {
      tars.push_back(std::move(member));
    } else if (is_picture(member.name, found.skipped)) {
      pictures.push_back(std::move(member));
    }
  }
  if (labels == Labels::elsewhere) {
    Part part;
    for (const TarMember& picture : pictures) take_tar_member(source.filename().string(), picture, "", part);
    found.images = std::move(part.images);
    if (!tars.empty()) found.skipped[".tar files"] += tars.size();
  } else if (!tars.empty()) {
    if (!pictures.empty()) found.skipped["pictures outside of any class's tar"] += pictures.size();
    found.kind = "a tar of class tars";
    enumerate_tar_of_tars(file, tars, found);
  } else {
    found.kind = "a tar with a folder a class";
    enumerate_tar_with_folders(file, pictures, found);
  }
}

// ---- listings ----

void enumerate_listing(const fs::path& source, Labels labels, Found& found) {
  std::map<std::string, Part> by_class;
  std::unordered_set<std::string> paths;
  for (NamedClass& line : read_named_classes(source)) {
    if (line.name.empty()) {
      throw DamageError({"line " + std::to_string(line.line) + " is not 'path TAB class'", source.string(),
                         "data_manifests/README.md has the grammar"});
    }
    ImageEntry image;
    image.path = fs::path(line.name).lexically_normal().generic_string();
    if (!paths.insert(image.path).second) {
      throw Error({"'" + image.path + "' stands twice, again in line " + std::to_string(line.line), source.string(),
                   "remove one of the two lines"});
    }
    Part& part = by_class[labels == Labels::elsewhere ? "" : line.label];
    part.id = line.label;
    part.images.push_back(std::move(image));
  }
  std::vector<Part> parts;
  parts.reserve(by_class.size());
  for (auto& [id, part] : by_class) parts.push_back(std::move(part));
  join(std::move(parts), source, found);
  if (labels == Labels::elsewhere) found.classes.clear();
}

// ---- what stands there ----

enum class Form { folder, tar, listing };

Form form_of(const fs::path& source) {
  if (fs::is_directory(source)) return Form::folder;
  const InputFile file(source);
  std::array<std::byte, 512> head{};
  const auto begin = std::span(head).first(std::min<uint64_t>(head.size(), file.bytes()));
  file.read_at(0, begin);
  const std::string packed = compression_of(begin);
  if (!packed.empty()) {
    throw Error({"a file compressed with " + packed + "; pictures in it have no place of their own to read from",
                 source.string(), "unpack it first (JPEGs do not get smaller by it), and name the plain tar"});
  }
  const std::string_view magic(reinterpret_cast<const char*>(head.data()) + 257, 5);
  if (magic == "ustar" || extension_of(source.filename().string()) == ".tar") return Form::tar;
  if (std::find(begin.begin(), begin.end(), std::byte{0}) != begin.end() || begin.empty()) {
    throw Error(
        {"neither a folder, nor a tar, nor a listing", source.string(), "data_manifests/README.md lists the forms"});
  }
  return Form::listing;
}

}  // namespace

std::string passed_over(const std::map<std::string, uint64_t>& skipped) {
  std::string text;
  for (const auto& [what, count] : skipped)
    text += (text.empty() ? " (passed over: " : ", ") + grouped(count) + " " + what;
  return text.empty() ? text : text + ")";
}

std::string kind_of_source(const fs::path& source, Labels labels) {
  const Form form = form_of(source);
  if (form == Form::listing) return "a listing";
  const std::string what = form == Form::folder ? "a folder" : "a tar";
  if (labels == Labels::elsewhere) return what + " of pictures";
  if (form == Form::tar) return "a tar of classes";
  return look_at_folder(source).folders.empty() ? "a folder of class tars" : "a folder a class";
}

fs::path root_of_source(const fs::path& source) { return fs::is_directory(source) ? source : source.parent_path(); }

Found enumerate_source(const fs::path& source, Labels labels) {
  Found found;
  found.root = root_of_source(source);
  found.kind = kind_of_source(source, labels);
  try {
    switch (form_of(source)) {
      case Form::folder:
        enumerate_folder(source, labels, found);
        break;
      case Form::tar:
        enumerate_tar(source, labels, found);
        break;
      case Form::listing:
        enumerate_listing(source, labels, found);
        break;
    }
  } catch (const fs::filesystem_error& error) {
    throw Error({std::string("cannot walk a folder (") + error.code().message() + ")", error.path1().string(),
                 "check who may read there"});
  }
  if (found.images.empty()) {
    throw Error({"no picture was found" + passed_over(found.skipped), source.string(),
                 "is this the right place, and is it mounted?"});
  }
  sort_and_check(source, found.images);
  return found;
}

}  // namespace packhorse
