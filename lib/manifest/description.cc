#include "manifest/description.h"

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "base/typed_json.h"

namespace packhorse {
namespace {

/// What a member can be; throws a std::invalid_argument that says so.
using Rule = std::function<void(const Json&)>;

struct Member {
  const char* name;
  Rule rule;
};
using Members = std::vector<Member>;

void text(const Json& value) {
  if (typed<std::string>(value).empty()) throw std::invalid_argument("text that is not empty");
}
void any_text(const Json& value) { typed<std::string>(value); }
void count(const Json& value) { typed<uint64_t>(value); }
void share(const Json& value) {
  if (const double number = typed<double>(value); !(number >= 0 && number <= 0.9))
    throw std::invalid_argument("a number from 0 to 0.9");
}
void object(const Json& value) {
  if (!value.is_object()) throw std::invalid_argument("an object, { ... }");
}
/// One word of a path: results are below runs/NAME.
void name(const Json& value) {
  const auto given = typed<std::string>(value);
  const bool control = std::any_of(given.begin(), given.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (given.empty() || given == "." || given == ".." || given.find('/') != std::string::npos || control)
    throw std::invalid_argument("one word of a path, without '/' and control characters");
}

void check_members(const Json& part, const std::string& where, const Members& members) {
  if (!part.is_object()) throw UsageError({"this is not an object, { ... }, but " + part.dump(), where, ""});
  for (const auto& [given, value] : part.items()) {
    const auto found = std::find_if(members.begin(), members.end(),
                                    [&wanted = given](const Member& member) { return wanted == member.name; });
    if (found == members.end()) {
      std::vector<std::string> names;
      for (const Member& member : members) names.emplace_back(member.name);
      const auto meant = nearest(given, names);
      throw UsageError({"there is no member '" + given + "'", where,
                        (meant ? "did you mean '" + *meant + "'? " : "") + "The members are " + joined(names)});
    }
    try {
      found->rule(value);
    } catch (const std::invalid_argument& wanted) {
      throw UsageError(
          {"the member '" + given + "' cannot be " + value.dump(), where, std::string("write ") + wanted.what()});
    }
  }
}

void refuse_both(const Json& part, const char* one, const char* other, const std::string& where) {
  if (!part.contains(one) || !part.contains(other)) return;
  throw UsageError({std::string("'") + one + "' and '" + other + "' exclude each other", where, "remove one of them"});
}

}  // namespace

void check_description(const Json& description, const std::string& where) {
  static const Members kMembers = {{"schema", text},       {"name", name},    {"about", any_text}, {"train", object},
                                   {"validation", object}, {"classes", text}, {"expect", object},  {"stages", object}};
  check_members(description, where, kMembers);
  const auto check_part = [&](const char* part, const Members& members) {
    if (description.contains(part)) check_members(description.at(part), where + ", " + part, members);
  };
  check_part("train", {{"source", text}});
  check_part("validation", {{"source", text}, {"ground_truth", text}, {"fraction", share}, {"per_class", count}});
  check_part("expect", {{"images", count}, {"classes", count}});
  if (!description.contains("validation")) return;
  const Json& validation = description.at("validation");
  const std::string place = where + ", validation";
  refuse_both(validation, "fraction", "per_class", place);
  refuse_both(validation, "source", "fraction", place);
  refuse_both(validation, "source", "per_class", place);
  if (validation.contains("ground_truth") && !validation.contains("source"))
    throw UsageError({"'ground_truth' has no 'source' whose images it is of", place, "add \"source\""});
}

}  // namespace packhorse
