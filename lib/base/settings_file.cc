#include "base/settings_file.h"

#include <algorithm>
#include <sstream>
#include <utility>

#if __has_include(<toml++/toml.h>)
#include <toml++/toml.h>
#define PACKHORSE_TOML
#endif

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace packhorse {
#ifdef PACKHORSE_TOML
const bool kReadsSettingsFiles = true;

namespace {

std::string place(const std::string& path, const toml::source_region& region) {
  return path + ", line " + std::to_string(region.begin.line);
}

Json value_of(const toml::node& node, const std::string& where) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* whole = node.as_integer()) return whole->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* truth = node.as_boolean()) return truth->get();
  if (const auto* list = node.as_array()) {
    Json all = Json::array();
    for (const toml::node& entry : *list) all.push_back(value_of(entry, where));
    return all;
  }
  throw UsageError({"a setting is a word, a number, true, false, or a list of them", where,
                    node.is_table() ? "write each setting on a line of its own" : "put the value into quotes"});
}

toml::table parsed(const std::string& path) {
  try {
    return toml::parse(read_text(path), path);
  } catch (const Error& error) {
    throw UsageError(error.text());
  } catch (const toml::parse_error& error) {
    throw UsageError({"this is not TOML: " + std::string(error.description()), place(path, error.source()),
                      "write name = value, with words in quotes"});
  }
}

}  // namespace

SettingsFile read_settings_file(const std::string& path, const std::string& own,
                                const std::vector<std::string>& tables) {
  const toml::table file = parsed(path);
  SettingsFile found;
  const auto take = [&](const toml::table& from) {
    for (const auto& [key, node] : from) {
      const std::string where = place(path, node.source());
      found.settings.push_back({std::string(key.str()), value_of(node, where), where});
    }
  };
  std::string outside;  // a setting that is in no table
  for (const auto& [key, node] : file) {
    const std::string name(key.str()), where = place(path, node.source());
    if (!node.is_table()) {
      outside = name;
      continue;
    }
    found.has_tables = true;
    if (std::find(tables.begin(), tables.end(), name) == tables.end()) {
      const auto meant = nearest(name, tables);
      throw UsageError({"there is no stage '" + name + "' to which the table could belong", where,
                        (meant ? "did you mean [" + *meant + "]? " : "") +
                            (tables.empty() ? "write the settings without a table" : "Tables are " + joined(tables))});
    }
    if (name == own) take(*node.as_table());
  }
  if (!found.has_tables) take(file);
  if (found.has_tables && !outside.empty())
    throw UsageError({"'" + outside + "' is outside of the tables, and belongs to no stage",
                      place(path, file.get(outside)->source()), "put it below the [stage] that it is for"});
  return found;
}

#else
const bool kReadsSettingsFiles = false;

SettingsFile read_settings_file(const std::string& path, const std::string& /*own*/,
                                const std::vector<std::string>& /*tables*/) {
  throw UsageError({"this build reads no settings files: there was no toml++ when it was built", path,
                    "give the settings on the command line, or build again where toml++ is"});
}
#endif

}  // namespace packhorse
