#include "source/changes.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>
#include <string_view>

#include <tbb/parallel_for.h>

#include "source/source.h"

namespace packhorse {

bool unchanged_since(const std::filesystem::path& source, const std::vector<ImageEntry>& images, time_t since) {
  // A list is shuffled: each archive is in it many times, each other file once.
  std::set<std::string_view> archives;
  std::vector<std::string_view> files;
  for (const ImageEntry& image : images)
    if (image.member.empty() || archives.insert(image.path).second) files.push_back(image.path);
  const std::filesystem::path root = root_of_source(source);
  std::atomic<bool> same{true};
  tbb::parallel_for(size_t{0}, files.size(), [&](size_t i) {
    if (!same) return;
    struct stat facts = {};
    const std::string path = (root / files[i]).string();
    if (stat(path.c_str(), &facts) != 0 || std::max(facts.st_mtime, facts.st_ctime) >= since) same = false;
  });
  return same;
}

}  // namespace packhorse
