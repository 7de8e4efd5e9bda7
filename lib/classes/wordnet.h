// WordNet 3.0's nouns: what a class id such as n01440764 means, and which classes lie under which.
//
// An id is 'n' and the eight digits of the synset's byte offset in `data.noun`, so a synset is found without an index.
// A class can have several hypernyms: the nouns are a directed graph without cycles, not quite a tree. (Source: the
// manual page wndb(5); '@' points to a hypernym, '@i' from an instance to its class.)
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace packhorse {

/// Where Debian's package wordnet-base puts it.
inline constexpr const char* kWordNetNouns = "/usr/share/wordnet/data.noun";

struct Synset {
  std::string names;                   ///< its words, comma-separated: "tench, Tinca tinca"
  std::vector<std::string> hypernyms;  ///< ids of what it is a kind, or an instance, of
};

class WordNet {
 public:
  /// Reads `data.noun` whole (16 MB); throws where it is not there or is something else.
  explicit WordNet(const std::filesystem::path& nouns = kWordNetNouns);

  /// Whether the text has an id's form: 'n' and eight digits.
  static bool is_id(const std::string& text);
  /// What stands at an id; nothing where the text is no id, or no noun begins there.
  std::optional<Synset> find(const std::string& id) const;
  /// Whether `id` is `root` or a kind of it, however distant.
  bool is_under(const std::string& id, const std::string& root) const;
  /// All that `id` is a kind of, nearest first, each once; ends with the most general, n00001740 (entity).
  std::vector<std::string> ancestors(const std::string& id) const;

 private:
  std::string text_;
};

}  // namespace packhorse
