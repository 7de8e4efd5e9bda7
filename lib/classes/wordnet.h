// The nouns of WordNet 3.0: what a class id such as n01440764 means, and which classes are under which.
//
// An id is 'n' and the eight digits of the synset's byte offset in `data.noun`, so a synset is found without an index.
// A class can have several hypernyms: the nouns are a directed acyclic graph, not a tree. (Source: the
// manual page wndb(5); '@' points to a hypernym, '@i' from an instance to its class.)
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace packhorse {

/// Where `data.noun` is: in the folder that WordNet's own variable WNSEARCHDIR names; else in share/wordnet of the
/// prefix that the executable is installed in, if it is there; else where Debian's package wordnet-base has it.
std::filesystem::path wordnet_nouns();

struct Synset {
  std::string names;                   ///< its words, comma-separated: "tench, Tinca tinca"
  std::vector<std::string> hypernyms;  ///< ids of the synsets that it is a kind or an instance of
};

class WordNet {
 public:
  /// Reads all of `data.noun` (16 MB); throws if the file is missing or is something else.
  explicit WordNet(const std::filesystem::path& nouns = wordnet_nouns());

  /// Whether the text has the form of an id: 'n' and eight digits.
  static bool is_id(const std::string& text);
  /// The synset with this id; nothing if the text is not an id, or no noun begins at its offset.
  std::optional<Synset> find(const std::string& id) const;
  /// Whether `id` is `root`, or is under it at any distance.
  bool is_under(const std::string& id, const std::string& root) const;
  /// All hypernyms of `id`, direct and indirect, each once: nearest first, the most general (n00001740, entity) last.
  std::vector<std::string> ancestors(const std::string& id) const;

 private:
  std::string text_;
};

}  // namespace packhorse
