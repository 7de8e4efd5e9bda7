#include "classes/class_table.h"

#include <algorithm>
#include <sstream>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"

namespace packhorse {

ClassTable::ClassTable(std::vector<ClassEntry> classes) : classes_(std::move(classes)) {
  for (uint32_t label = 0; label < classes_.size(); ++label) {
    if (!labels_.emplace(classes_[label].id, label).second) {
      throw Error(
          {"the class '" + classes_[label].id + "' is in the class table twice", "", "remove one of the two lines"});
    }
  }
}

ClassTable ClassTable::load(const std::filesystem::path& path) {
  std::istringstream lines(read_text(path));
  std::vector<ClassEntry> classes;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    if (std::any_of(line.begin(), line.end(), [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; }))
      throw DamageError({"the line of class " + std::to_string(classes.size()) + " has a control character",
                         path.string(), "see data_manifests/README.md for the grammar"});
    const size_t first = line.find('\t');
    const size_t second = first == std::string::npos ? first : line.find('\t', first + 1);
    if (first == std::string::npos || line.substr(0, first) != std::to_string(classes.size())) {
      throw DamageError({"a line is not 'index TAB id TAB names' with the next index (" +
                             std::to_string(classes.size()) + "): " + line,
                         path.string(), "see data_manifests/README.md for the grammar"});
    }
    const bool named = second != std::string::npos;
    classes.push_back(
        {line.substr(first + 1, named ? second - first - 1 : second), named ? line.substr(second + 1) : ""});
  }
  if (classes.empty()) throw DamageError({"the class table has no classes", path.string(), ""});
  return ClassTable(std::move(classes));
}

void ClassTable::save(const std::filesystem::path& path) const {
  std::string text;
  for (size_t label = 0; label < classes_.size(); ++label) {
    text += std::to_string(label) + "\t" + classes_[label].id + "\t" + classes_[label].names + "\n";
  }
  write_text(path, text);
}

std::optional<uint32_t> ClassTable::label_of(const std::string& id) const {
  const auto found = labels_.find(id);
  return found == labels_.end() ? std::nullopt : std::optional(found->second);
}

std::string ClassTable::short_name(size_t label) const {
  const ClassEntry& entry = classes_[label];
  return entry.names.empty() ? entry.id : entry.names.substr(0, entry.names.find(','));
}

std::string ClassTable::crc32c() const {
  uint32_t crc = 0;
  for (const ClassEntry& entry : classes_) {
    const std::string line = entry.id + "\n";
    crc = packhorse::crc32c(std::as_bytes(std::span(line)), crc);
  }
  return crc32c_text(crc);
}

ClassTable load_class_table(const StageManifest& manifest, const std::string& crc32c) {
  const std::filesystem::path path = manifest.output_of("class-table").path;
  ClassTable table = ClassTable::load(path);
  if (table.crc32c() != crc32c) {
    throw DamageError({"the class table is not the one that the labels belong to", path.string(),
                       "run the stage '" + manifest.stage + "' again: the table changed after it"});
  }
  return table;
}

}  // namespace packhorse
