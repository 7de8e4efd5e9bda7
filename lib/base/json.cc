#include "base/json.h"

#include "base/error.h"
#include "base/files.h"
#include "base/typed_json.h"

namespace packhorse {
namespace {

constexpr int kMaxDepth = 64;

}  // namespace

Json read_json(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  // What is read is walked and printed by functions that call themselves.
  const auto not_too_deep = [&](int depth, Json::parse_event_t /*event*/, const Json& /*value*/) {
    if (depth > kMaxDepth)
      throw DamageError({"brackets are nested more than " + std::to_string(kMaxDepth) + " deep", path.string(),
                         "check that this is a manifest or a description"});
    return true;
  };
  try {
    return Json::parse(text, not_too_deep);
  } catch (const Json::exception& error) {
    throw DamageError({std::string("not valid JSON (") + error.what() + ")", path.string(),
                       "check that this is a manifest or a description, and that it is complete"});
  }
}

void write_json(const std::filesystem::path& path, const Json& value) { write_text(path, value.dump(2) + "\n"); }

template <typename T>
T json_member(const Json& object, const std::string& key, const std::string& where) {
  if (!object.is_object() || !object.contains(key)) throw Error({"the member '" + key + "' is missing", where, ""});
  try {
    return typed<T>(object.at(key));
  } catch (const std::invalid_argument& wanted) {
    throw Error({"the member '" + key + "' has the wrong type: " + object.at(key).dump(), where,
                 std::string("write ") + wanted.what()});
  }
}

template std::string json_member(const Json&, const std::string&, const std::string&);
template int64_t json_member(const Json&, const std::string&, const std::string&);
template uint64_t json_member(const Json&, const std::string&, const std::string&);
template double json_member(const Json&, const std::string&, const std::string&);
template Json json_member(const Json&, const std::string&, const std::string&);

}  // namespace packhorse
