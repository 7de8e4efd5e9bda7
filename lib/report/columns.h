// The journal as columns: what training wrote line by line, ready for HDF5, CSV and plots.
//
// Rule: whatever the journal holds is exported. A kind of line becomes a table ("step" lines: steps/loss, steps/...),
// a member of its lines a column; a value that a line lacks is NaN, or an empty text. Nothing is renamed or recomputed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "hdf5/hdf5_file.h"

namespace packhorse {

struct Column {
  enum class Kind { integer, real, text };
  std::string name;
  std::string unit;  ///< "nat", "image/s", "1", ...; empty where the name does not tell
  Kind kind = Kind::integer;
  std::vector<int64_t> integers;  // one of the three is filled, a value a line
  std::vector<double> reals;
  std::vector<std::string> texts;

  /// The numbers of an integer or real column.
  std::vector<double> numbers() const;
};

struct Table {
  std::string name;  ///< "steps", "epochs", "validation", "runs", "stops"
  size_t rows = 0;
  std::vector<Column> columns;

  const Column* find(const std::string& column) const;
};

/// The unit that a member's name implies.
std::string unit_of(const std::string& name);

/// One table a kind of line, in the order in which kinds first appear.
std::vector<Table> journal_tables(const std::vector<Json>& journal);

/// The table of that name, or one without rows.
const Table& table_of(const std::vector<Table>& tables, const std::string& name);

/// Each column a dataset with its unit as attribute.
void write_tables(Hdf5Writer& writer, const std::vector<Table>& tables);

/// All tables in one CSV (RFC 4180): a column `table`, then every member that occurs, empty where a line lacks it.
void write_csv(const std::filesystem::path& path, const std::vector<Table>& tables);

}  // namespace packhorse
