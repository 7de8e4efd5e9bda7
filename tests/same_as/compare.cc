// Says whether two runs gave the same results, and where they first differ:
//
//     compare LABEL LEFT RIGHT FILE... [OBJECT@ATTRIBUTE...]
//
// LEFT and RIGHT are folders; each FILE is a path in both. Every value of a file gets a logical name (a dataset's path,
// "step 7 loss"), so the order in which a file stores its values does not matter:
//   .h5      every dataset, and the attributes named ("all@top1"; "@epoch" is the root's), bit for bit. Checkpoints of
//            before schema 3 have today's names: their parameters/NAME is state/weights/NAME
//   .jsonl   a journal: loss and top1 of every step and validation, because the rest of it is times
//   .json    predictions: image, label, id and probability of every choice
//   others   every byte
// It prints one line. The exit code is 0 only if nothing differs and everything could be read.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/run.h"
#include "base/text.h"
#include "hdf5/hdf5_file.h"
#include "metrics/journal.h"

using namespace packhorse;
namespace fs = std::filesystem;

namespace {

/// The value of one name. A dataset's numbers are here twice, because a double is exact for each float and a 64-bit
/// integer for each integer.
struct Fact {
  std::vector<int64_t> shape{}, integers{};
  std::vector<double> reals{};
  std::vector<std::string> texts{};
  std::string bytes{};
};
using Facts = std::map<std::string, Fact>;

// ---- What a file says

/// A dataset's name in a checkpoint of today.
std::string todays_name(const std::string& name) {
  static const std::map<std::string, std::string> kRenamed = {
      {"parameters/", "state/weights/"}, {"momentum/", "state/momentum/"}, {"statistics/", "state/statistics/"}};
  for (const auto& [before, now] : kRenamed)
    if (name.starts_with(before)) return now + name.substr(before.size());
  return name;
}

Fact read_dataset(const Hdf5Reader& file, const std::string& name) {
  const std::vector<int64_t> shape = file.shape(name);
  try {
    return {.shape = shape, .texts = file.strings(name)};
  } catch (const DamageError&) {  // the reader does not tell types; it refuses to read numbers as texts
    return {.shape = shape, .integers = file.integers(name), .reals = file.doubles(name)};
  }
}

/// Before schema 3 of checkpoints, the batches taken were "step".
Fact read_attribute(const Hdf5Reader& file, const std::string& object, const std::string& name) {
  if (name == "batches_taken" && !file.has_attribute(object, name)) return read_attribute(file, object, "step");
  try {
    return {.texts = {file.text_attribute(object, name)}};
  } catch (const DamageError&) {
    return {.integers = {file.integer_attribute(object, name)}, .reals = {file.real_attribute(object, name)}};
  }
}

void read_below(const Hdf5Reader& file, const std::string& group, Facts& facts) {
  std::vector<std::string> names;
  try {
    names = file.names(group);
  } catch (const DamageError&) {  // not a group
    const std::string name = todays_name(group);
    if (!facts.emplace(name, read_dataset(file, group)).second) {
      throw DamageError({"two arrays are the same one in today's names", name, "keep one of them"});
    }
    return;
  }
  for (const std::string& name : names)
    read_below(file, group.empty() ? name : fmt::format("{}/{}", group, name), facts);
}

/// A journal has null for a number that was not finite.
double number(const Json& object, const std::string& key, const std::string& where) {
  const auto value = json_member<Json>(object, key, where);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : json_member<double>(object, key, where);
}

Facts read_journal_facts(const fs::path& path) {
  Facts facts;
  for (const Json& line : read_journal(path)) {
    const auto kind = json_member<std::string>(line, "kind", path.string());
    if (kind != "step" && kind != "validation") continue;
    // Padded, so that the names are in the order of the steps.
    const std::string place = fmt::format("{} {:4}", kind, json_member<int64_t>(line, "step", path.string()));
    for (const char* key : {"loss", "top1"})
      facts[place + " " + key].reals.push_back(number(line, key, path.string() + ": " + place));
  }
  return facts;
}

/// Takes the bare list of older revisions, and the object around it of newer ones.
Facts read_predictions(const fs::path& path) {
  Facts facts;
  const Json whole = read_json(path);
  for (const Json& entry : whole.is_array() ? whole : json_member<Json>(whole, "predictions", path.string())) {
    const auto image = json_member<std::string>(entry, "image", path.string());
    const std::string where = path.string() + ": " + image;
    size_t rank = 0;
    for (const Json& choice : json_member<Json>(entry, "predictions", where)) {
      const std::string place = fmt::format("{} choice {} ", image, ++rank);
      facts[place + "id"].texts.push_back(json_member<std::string>(choice, "id", where));
      facts[place + "label"].integers.push_back(json_member<int64_t>(choice, "label", where));
      facts[place + "probability"].reals.push_back(json_member<double>(choice, "probability", where));
    }
  }
  return facts;
}

Facts read_facts(const fs::path& path, const std::vector<std::string>& attributes) {
  if (path.extension() == ".jsonl") return read_journal_facts(path);
  if (path.extension() == ".json") return read_predictions(path);
  if (path.extension() != ".h5") return {{"", {.bytes = read_text(path)}}};
  Facts facts;
  const Hdf5Reader file(path);
  read_below(file, "", facts);
  for (const std::string& name : attributes) {
    const size_t at = name.find('@');
    facts[name] = read_attribute(file, name.substr(0, at), name.substr(at + 1));
  }
  return facts;
}

// ---- Where two of them differ

std::string shown(const std::string& text) { return "\"" + text + "\""; }
std::string shown(int64_t number) { return fmt::format("{}", number); }
std::string shown(char byte) { return fmt::format("0x{:02x}", static_cast<unsigned char>(byte)); }
/// As few digits as distinguish it from its neighbours; if it is a float, from the neighbouring floats.
std::string shown(double number) {
  const auto narrow = static_cast<float>(number);
  return static_cast<double>(narrow) == number ? fmt::format("{}", narrow) : fmt::format("{}", number);
}

template <typename T>
bool same(const T& left, const T& right) {
  return left == right;
}
bool same(double left, double right) { return std::bit_cast<uint64_t>(left) == std::bit_cast<uint64_t>(right); }

/// Empty if they are the same.
template <typename Sequence>
std::string first_difference(const Sequence& left, const Sequence& right, const char* element) {
  if (left.size() != right.size()) return fmt::format(", {} and {} {}s", left.size(), right.size(), element);
  for (size_t i = 0; i < left.size(); ++i) {
    if (same(left[i], right[i])) continue;
    const std::string place = left.size() == 1 ? "" : fmt::format(", first at {} {}", element, i);
    return place + ": " + shown(left[i]) + " and " + shown(right[i]);
  }
  return "";
}

std::string first_difference(const Fact& left, const Fact& right) {
  for (const std::string& found :
       {first_difference(left.shape, right.shape, "dimension"), first_difference(left.reals, right.reals, "element"),
        first_difference(left.integers, right.integers, "element"),
        first_difference(left.texts, right.texts, "element"), first_difference(left.bytes, right.bytes, "byte")}) {
    if (!found.empty()) return found;
  }
  return "";
}

struct Comparison {
  size_t files = 0, values = 0, bytes = 0;
  std::vector<std::string> differences{};

  void add(const std::string& file, const Facts& left, const Facts& right) {
    ++files;
    std::set<std::string> names;
    for (const Facts* side : {&left, &right})
      for (const auto& [name, fact] : *side) names.insert(name);
    for (const std::string& name : names) {
      const std::string place = name.empty() ? file : fmt::format("{}: {}", file, name);
      if (!left.contains(name) || !right.contains(name)) {
        differences.push_back(place + (left.contains(name) ? ", only the first has it" : ", only the second has it"));
        continue;
      }
      const Fact& fact = left.at(name);
      values += std::max(fact.reals.size(), fact.integers.size()) + fact.texts.size();
      bytes += fact.bytes.size();
      const std::string found = first_difference(fact, right.at(name));
      if (!found.empty()) differences.push_back(place + found);
    }
  }
};

int compare(const std::vector<std::string>& arguments) {
  std::vector<std::string> files, attributes;
  for (size_t i = 3; i < arguments.size(); ++i)
    (arguments[i].find('@') == std::string::npos ? files : attributes).push_back(arguments[i]);
  if (files.empty()) {
    throw UsageError({"there is nothing to compare", arguments.empty() ? "the command line" : arguments[0],
                      "compare LABEL LEFT RIGHT FILE... [OBJECT@ATTRIBUTE...]"});
  }
  const std::string& label = arguments[0];
  const fs::path left = arguments[1], right = arguments[2];
  Comparison all;
  for (const std::string& file : files) {
    try {
      all.add(file, read_facts(left / file, attributes), read_facts(right / file, attributes));
    } catch (const Error& error) {  // a file that one side lacks, too
      all.differences.push_back(error.text().what + ": " + error.text().where);
    }
  }
  if (!all.differences.empty()) {
    const size_t others = all.differences.size() - 1;
    fmt::print("DIFFERS {}: {}{}\n", label, all.differences[0],
               others == 0 ? "" : fmt::format(" (and {} more)", grouped(others)));
    return kExitFailure;
  }
  fmt::print("same    {}: {} {}, {} {}\n", label, all.files, all.files == 1 ? "file" : "files",
             grouped(all.bytes > 0 ? all.bytes : all.values), all.bytes > 0 ? "bytes" : "values");
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  return run_stage([&] { return compare({argv + 1, argv + argc}); });
}
