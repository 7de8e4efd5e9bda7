#include "report/columns.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/core.h>

#include "base/files.h"

namespace packhorse {
namespace {

std::string table_name(const std::string& kind) {
  static const std::map<std::string, std::string> kNames{
      {"run", "runs"}, {"step", "steps"}, {"epoch", "epochs"}, {"stop", "stops"}};
  const auto found = kNames.find(kind);
  return found == kNames.end() ? kind : found->second;
}

/// The kind that holds every value of one member: integer if every line has an integer, real if all values are numbers,
/// else text.
Column::Kind kind_of(const std::vector<const Json*>& lines, const std::string& member) {
  bool whole = true;
  for (const Json* line : lines) {
    const auto value = line->find(member);
    if (value == line->end() || value->is_null()) {
      whole = false;
    } else if (!value->is_number() && !value->is_boolean()) {
      return Column::Kind::text;
    } else {
      whole = whole && !value->is_number_float();
    }
  }
  return whole ? Column::Kind::integer : Column::Kind::real;
}

int64_t as_integer(const Json& value) { return value.is_boolean() ? value.get<bool>() : value.get<int64_t>(); }
double as_real(const Json& value) { return value.is_boolean() ? value.get<bool>() : value.get<double>(); }

Column make_column(const std::vector<const Json*>& lines, const std::string& member) {
  Column column;
  column.name = member;
  column.unit = unit_of(member);
  column.kind = kind_of(lines, member);
  for (const Json* line : lines) {
    const auto value = line->find(member);
    const bool there = value != line->end() && !value->is_null();
    if (column.kind == Column::Kind::integer) {
      column.integers.push_back(as_integer(*value));
    } else if (column.kind == Column::Kind::real) {
      column.reals.push_back(there ? as_real(*value) : std::numeric_limits<double>::quiet_NaN());
    } else {
      column.texts.push_back(!there ? "" : value->is_string() ? value->get<std::string>() : value->dump());
    }
  }
  return column;
}

std::string csv_field(const Column& column, size_t row) {
  if (column.kind == Column::Kind::integer) return std::to_string(column.integers[row]);
  if (column.kind == Column::Kind::real) {
    return std::isnan(column.reals[row]) ? "" : fmt::format("{}", column.reals[row]);
  }
  const std::string& text = column.texts[row];
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::vector<double> Column::numbers() const {
  if (kind == Kind::text) return std::vector<double>(texts.size(), std::numeric_limits<double>::quiet_NaN());
  return kind == Kind::integer ? std::vector<double>(integers.begin(), integers.end()) : reals;
}

const Column* Table::find(const std::string& column) const {
  const auto found = std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == column; });
  return found == columns.end() ? nullptr : &*found;
}

std::string unit_of(const std::string& name) {
  static const std::map<std::string, std::string> kWords{
      {"step", "1"},        {"epoch", "1"},         {"ranks", "1"},         {"images", "1"},
      {"loss", "nat"},      {"learning_rate", "1"}, {"gradient_norm", "1"}, {"batch", "1"},
      {"top1", "fraction"}, {"top5", "fraction"},   {"top20", "fraction"}};
  const auto found = kWords.find(name);
  if (found != kWords.end()) return found->second;
  if (name.ends_with("images_per_second")) return "image/s";
  if (name.ends_with("bytes_per_second")) return "byte/s";
  if (name.ends_with("_loss")) return "nat";
  if (name == "seconds" || name.ends_with("_seconds")) return "s";
  if (name == "bytes" || name.ends_with("_bytes")) return "byte";
  if (name.ends_with("_share") || name.ends_with("_top1") || name.ends_with("_top5")) return "fraction";
  return "";
}

std::vector<Table> journal_tables(const std::vector<Json>& journal) {
  std::vector<std::string> kinds;
  std::map<std::string, std::vector<const Json*>> lines;
  std::map<std::string, std::vector<std::string>> members;  // in the order of their first appearance
  for (const Json& line : journal) {
    const auto kind = line.at("kind").get<std::string>();
    if (!lines.contains(kind)) kinds.push_back(kind);
    lines[kind].push_back(&line);
    auto& known = members[kind];
    for (const auto& [member, value] : line.items()) {
      if (member != "kind" && std::find(known.begin(), known.end(), member) == known.end()) known.push_back(member);
    }
  }
  std::vector<Table> tables;
  for (const std::string& kind : kinds) {
    Table table{table_name(kind), lines[kind].size(), {}};
    for (const std::string& member : members[kind]) table.columns.push_back(make_column(lines[kind], member));
    tables.push_back(std::move(table));
  }
  return tables;
}

const Table& table_of(const std::vector<Table>& tables, std::string_view name) {
  static const Table kNone;
  const auto found = std::find_if(tables.begin(), tables.end(), [&](const Table& table) { return table.name == name; });
  return found == tables.end() ? kNone : *found;
}

void write_tables(Hdf5Writer& writer, const std::vector<Table>& tables) {
  for (const Table& table : tables) {
    const std::vector<int64_t> shape{static_cast<int64_t>(table.rows)};
    for (const Column& column : table.columns) {
      std::string member = column.name;
      std::replace(member.begin(), member.end(), '/', '_');  // HDF5 would create a group
      const std::string name = table.name + "/" + member;
      if (column.kind == Column::Kind::integer) {
        writer.write(name, std::span<const int64_t>(column.integers), shape);
      } else if (column.kind == Column::Kind::real) {
        writer.write(name, std::span<const double>(column.reals), shape);
      } else {
        writer.write(name, column.texts);
      }
      if (!column.unit.empty()) writer.attribute(name, "unit", column.unit);
    }
  }
}

void write_csv(const std::filesystem::path& path, const std::vector<Table>& tables) {
  std::vector<std::string> members;
  for (const Table& table : tables) {
    for (const Column& column : table.columns) {
      if (std::find(members.begin(), members.end(), column.name) == members.end()) members.push_back(column.name);
    }
  }
  OutputFile file(path);
  std::string line = "table";
  for (const std::string& member : members) line += "," + member;
  file.write(line + "\r\n");
  for (const Table& table : tables) {
    std::vector<const Column*> columns;
    columns.reserve(members.size());
    for (const std::string& member : members) columns.push_back(table.find(member));
    for (size_t row = 0; row < table.rows; ++row) {
      line = table.name;
      for (const Column* column : columns) line += "," + (column == nullptr ? "" : csv_field(*column, row));
      file.write(line + "\r\n");
    }
  }
  file.commit();
}

}  // namespace packhorse
