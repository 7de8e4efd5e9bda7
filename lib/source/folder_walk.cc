#include "source/folder_walk.h"

#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace packhorse {
namespace fs = std::filesystem;
namespace {

/// The same folder has the same identity under every name.
using Identity = std::pair<dev_t, ino_t>;

Identity identity_of(const fs::path& folder) {
  struct stat status = {};
  if (stat(folder.c_str(), &status) != 0) throw_errno("cannot look at the folder", folder.string());
  return {status.st_dev, status.st_ino};
}

/// A source and all folders around it.
std::set<Identity> around(const fs::path& source) {
  std::set<Identity> identities;
  for (fs::path at = fs::canonical(source);; at = at.parent_path()) {
    identities.insert(identity_of(at));
    if (at == at.parent_path()) return identities;
  }
}

struct FoundFolder {
  std::string name;  ///< relative to the source
  int depth = 0;     ///< 0: the folder that the walk began with
};

class Walk {
 public:
  Walk(const fs::path& source, ClassImages& images) : source_(source), images_(images) {}

  void run(const std::string& folder) {
    listed_.insert(identity_of(source_ / folder));
    look_into({folder, 0});
    if (!links_.empty()) listed_.merge(around(source_));  // only links lead there
    // What really is there comes first, so the names do not depend on the order of entries on disk.
    while (!links_.empty()) {
      std::vector<FoundFolder> links = std::exchange(links_, {});
      std::sort(links.begin(), links.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
      for (const FoundFolder& link : links) enter(link);
    }
  }

 private:
  void enter(const FoundFolder& folder) {
    const fs::path path = source_ / folder.name;
    if (folder.depth > kMaxDepth || path.native().size() >= PATH_MAX) return skip(SkipReason::too_deep, folder.name);
    if (!listed_.insert(identity_of(path)).second) return skip(SkipReason::folder_again, folder.name);
    look_into(folder);
  }

  void look_into(const FoundFolder& folder) {
    for (const auto& entry : fs::directory_iterator(source_ / folder.name)) {
      const std::string base = entry.path().filename().string();
      std::string name = folder.name.empty() ? base : folder.name + "/" + base;
      if (type_of(entry) == fs::file_type::directory) {
        if (is_hidden(base)) {
          skip(SkipReason::hidden, name);
        } else if (entry.is_symlink()) {
          links_.push_back({std::move(name), folder.depth + 1});
        } else {
          enter({std::move(name), folder.depth + 1});
        }
        continue;
      }
      if (const auto reason = why_not_listed(entry, name)) {
        skip(*reason, name);
        continue;
      }
      ++images_.found;
      ImageEntry image;
      image.path = std::move(name);
      images_.images.push_back(std::move(image));
    }
  }

  void skip(SkipReason reason, const std::string& name) {
    ++images_.found;
    images_.skip(reason, name);
  }

  const fs::path& source_;
  ClassImages& images_;
  std::set<Identity> listed_;       // in this walk, or never to be listed
  std::vector<FoundFolder> links_;  // found, and not followed yet
};

std::optional<std::vector<std::byte>> head_of(const fs::path& path) {
  try {
    const InputFile file(path);
    std::vector<std::byte> head(std::min<uint64_t>(kHeadBytes, file.bytes()));
    file.read_at(0, head);
    return head;
  } catch (const SystemError&) {
    throw;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

fs::file_type type_of(const fs::directory_entry& entry) {
  std::error_code failed;  // a link in a circle, or into a folder that may not be read
  // The folder's listing gives these two without another look at the disk, millions of times.
  if (entry.is_regular_file(failed)) return fs::file_type::regular;
  if (entry.is_directory(failed)) return fs::file_type::directory;
  const fs::file_type type = entry.status(failed).type();
  return type == fs::file_type::none ? fs::file_type::not_found : type;
}

std::optional<SkipReason> why_not_listed(const fs::directory_entry& entry, const std::string& name) {
  if (is_hidden(name)) return SkipReason::hidden;
  const fs::file_type type = type_of(entry);
  if (type == fs::file_type::not_found) return SkipReason::dangling_link;
  if (type != fs::file_type::regular) return SkipReason::special;  // reading a pipe would block forever
  return why_not_image(name, [&] { return head_of(entry.path()); });
}

bool lies_around(const fs::path& folder, const fs::path& source) {
  return around(source).contains(identity_of(folder));
}

void walk_folder(const fs::path& source, const std::string& folder, ClassImages& images) {
  Walk(source, images).run(folder);
}

}  // namespace packhorse
