// JSON that keeps the order of its keys, because people read the manifests.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

namespace packhorse {

using Json = nlohmann::ordered_json;

/// Reads a file; a syntax error is a DamageError that names line and column.
Json read_json(const std::filesystem::path& path);

/// Writes a whole file atomically, indented by two spaces.
void write_json(const std::filesystem::path& path, const Json& value);

/// The member `key` of an object as T; throws an Error that names `where` if it is missing or of another type.
template <typename T>
T json_member(const Json& object, const std::string& key, const std::string& where);

extern template std::string json_member(const Json&, const std::string&, const std::string&);
extern template int64_t json_member(const Json&, const std::string&, const std::string&);
extern template uint64_t json_member(const Json&, const std::string&, const std::string&);
extern template double json_member(const Json&, const std::string&, const std::string&);
extern template Json json_member(const Json&, const std::string&, const std::string&);

}  // namespace packhorse
