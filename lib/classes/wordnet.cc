#include "classes/wordnet.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/files.h"

namespace packhorse {
namespace {

constexpr size_t kDigits = 8;

/// Removes the first word from `rest`, whose words are separated by single spaces, and returns it.
std::string_view take(std::string_view& rest) {
  const size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

/// A count as in wndb(5); 0 if the text is anything else.
unsigned number(std::string_view text, int base) {
  unsigned value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return code == std::errc() && end == text.data() + text.size() ? value : 0;
}

}  // namespace

std::filesystem::path wordnet_nouns() {
  if (const char* folder = std::getenv("WNSEARCHDIR")) return std::filesystem::path(folder) / "data.noun";
  std::error_code unknown;
  const auto executable = std::filesystem::read_symlink("/proc/self/exe", unknown);
  auto installed = executable.parent_path().parent_path() / "share/wordnet/data.noun";
  return !unknown && std::filesystem::exists(installed, unknown) ? installed : "/usr/share/wordnet/data.noun";
}

WordNet::WordNet(const std::filesystem::path& nouns) : text_(read_text(nouns)) {
  if (!find("n00001740")) {
    throw DamageError(
        {"not the nouns of WordNet 3.0: 'entity' is not at its offset", nouns.string(),
         "install Debian's package wordnet-base, or name the folder of WordNet 3.0's data.noun in WNSEARCHDIR"});
  }
}

bool WordNet::is_id(const std::string& text) {
  return text.size() == kDigits + 1 && text.front() == 'n' &&
         std::all_of(text.begin() + 1, text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<Synset> WordNet::find(const std::string& id) const {
  if (!is_id(id)) return std::nullopt;
  const size_t offset = number(std::string_view(id).substr(1), 10);
  if (offset >= text_.size() || text_.compare(offset, kDigits, id, 1, kDigits) != 0) return std::nullopt;
  // offset, file number, type, count of words (hexadecimal), then `word lex_id` each, count of pointers, then
  // `symbol offset type source/target` each
  std::string_view rest(text_.data() + offset, std::min(text_.find('\n', offset), text_.size()) - offset);
  for (int skipped = 0; skipped < 3; ++skipped) take(rest);
  Synset synset;
  for (unsigned left = number(take(rest), 16); left > 0; --left) {
    if (!synset.names.empty()) synset.names += ", ";
    synset.names += take(rest);
    take(rest);
  }
  std::replace(synset.names.begin(), synset.names.end(), '_', ' ');
  for (unsigned left = number(take(rest), 10); left > 0; --left) {
    const std::string_view symbol = take(rest);
    const std::string_view target = take(rest);
    const std::string_view type = take(rest);
    take(rest);
    if ((symbol == "@" || symbol == "@i") && type == "n") synset.hypernyms.push_back("n" + std::string(target));
  }
  return synset;
}

std::vector<std::string> WordNet::ancestors(const std::string& id) const {
  std::vector<std::string> found;
  std::vector<std::string> row{id};
  while (!row.empty()) {
    std::vector<std::string> next;
    for (const std::string& each : row) {
      const auto synset = find(each);
      if (!synset) continue;
      for (const std::string& above : synset->hypernyms) {
        if (std::find(found.begin(), found.end(), above) != found.end()) continue;
        found.push_back(above);
        next.push_back(above);
      }
    }
    row = std::move(next);
  }
  return found;
}

bool WordNet::is_under(const std::string& id, const std::string& root) const {
  if (id == root) return true;
  const auto above = ancestors(id);
  return std::find(above.begin(), above.end(), root) != above.end();
}

}  // namespace packhorse
