#include "source/changes.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>

#include <tbb/parallel_for.h>

#include "source/source.h"

namespace packhorse {

bool unchanged_since(const std::filesystem::path& source, const std::vector<ImageEntry>& images, time_t since) {
  const std::filesystem::path root = root_of_source(source);
  std::atomic<bool> same{true};
  tbb::parallel_for(size_t{0}, images.size(), [&](size_t i) {
    const bool archive_again = i > 0 && images[i].path == images[i - 1].path;
    if (!same || archive_again) return;
    struct stat facts = {};
    const std::string path = (root / images[i].path).string();
    if (stat(path.c_str(), &facts) != 0 || std::max(facts.st_mtime, facts.st_ctime) >= since) same = false;
  });
  return same;
}

}  // namespace packhorse
