// The classes of a data set, in the order that gives them their labels.
//
// On disk (`classes.tsv`): one line for each class, `index TAB id TAB names`, with indexes from 0 without a gap. The id
// is the name of the class's folder or tar (for example a WordNet id such as n01440764); names are comma-separated
// synonyms. Every stage from list to export passes the table's checksum on and checks it, so that labels keep their
// meaning.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "manifest/stage_manifest.h"

namespace packhorse {

struct ClassEntry {
  std::string id;
  std::string names;
};

class ClassTable {
 public:
  ClassTable() = default;
  /// Ids must be unique.
  explicit ClassTable(std::vector<ClassEntry> classes);
  static ClassTable load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;

  size_t size() const { return classes_.size(); }
  const ClassEntry& operator[](size_t label) const { return classes_[label]; }
  std::optional<uint32_t> label_of(const std::string& id) const;
  /// The first of the names, or the id if there are none.
  std::string short_name(size_t label) const;
  /// CRC32C of the ids in order, as eight hexadecimal digits. Correcting names does not change it.
  std::string crc32c() const;

 private:
  std::vector<ClassEntry> classes_;
  std::unordered_map<std::string, uint32_t> labels_;
};

/// Loads the class table from a stage's outputs. Throws a DamageError if it does not have the given checksum: another
/// table would give the labels another meaning.
ClassTable load_class_table(const StageManifest& manifest, const std::string& crc32c);
/// The same with the checksum that the manifest itself states.
inline ClassTable load_class_table(const StageManifest& manifest) {
  return load_class_table(manifest, manifest.classes_crc32c);
}

}  // namespace packhorse
