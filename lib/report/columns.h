// The journal as tables of columns, for HDF5, CSV and plots.
//
// Rule: everything in the journal is exported. Each kind of line becomes a table ("step" lines: steps/loss, steps/...),
// and each member of its lines a column. A value that a line does not have is NaN, or an empty text. Nothing is renamed
// or recomputed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "hdf5/hdf5_file.h"

namespace packhorse {

struct Column {
  enum class Kind { integer, real, text };
  std::string name;
  std::string unit;  ///< "nat", "image/s", "1", ...; empty if the name implies none
  Kind kind = Kind::integer;
  std::vector<int64_t> integers;  // one of the three vectors is filled, with one value per line
  std::vector<double> reals;
  std::vector<std::string> texts;

  /// The numbers of an integer or real column; of a text column as many NaN.
  std::vector<double> numbers() const;
};

struct Table {
  std::string name;  ///< "steps", "epochs", "validation", "runs", "stops"
  size_t rows = 0;
  std::vector<Column> columns;

  const Column* find(const std::string& column) const;
};

/// The unit that a member's name implies; empty if none.
std::string unit_of(const std::string& name);

/// One table for each kind of line, in the order in which the kinds first appear.
std::vector<Table> journal_tables(const std::vector<Json>& journal);

/// The table with this name, or an empty table.
const Table& table_of(const std::vector<Table>& tables, std::string_view name);

/// Writes each column as a dataset, with its unit as an attribute.
void write_tables(Hdf5Writer& writer, const std::vector<Table>& tables);

/// Writes all tables to one CSV file (RFC 4180): a column `table`, then a column for every member of any table, empty
/// if a line does not have it.
void write_csv(const std::filesystem::path& path, const std::vector<Table>& tables);

}  // namespace packhorse
