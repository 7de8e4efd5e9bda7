// HDF5 files with owners and exceptions; no other code includes hdf5.h. Names are paths ("steps/loss"); groups are
// created as needed.
//
// Rules: a file is built in memory, written under a temporary name and renamed, so a reader sees the complete old file
// or the complete new one, and a full disk makes our own writes fail, never HDF5 in the middle of a flush. The first
// 512 bytes (HDF5's "user block", which every tool skips) state the size and CRC32C of all that follows; a file that
// does not match is refused before HDF5 opens it, because damaged structures can send the library into an endless loop.
// A plain HDF5 file of another tool has no such block and is read as it is. Use one thread at a time: Debian's library
// is not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"

namespace packhorse {

class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;
  /// Datasets of the given shape (row-major); the product of `shape` must equal the number of values. A name can be
  /// written once.
  void write(const std::string& name, std::span<const float> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, std::span<const double> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, std::span<const int64_t> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, std::span<const uint32_t> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, std::span<const uint8_t> values, const std::vector<int64_t>& shape);
  /// UTF-8 strings of any length, without zero bytes.
  void write(const std::string& name, const std::vector<std::string>& values);
  /// Attributes of a dataset, of a group (created if missing), or of the root (""). A later value replaces an earlier
  /// one.
  void attribute(const std::string& object, const std::string& name, const std::string& value);
  void attribute(const std::string& object, const std::string& name, int64_t value);
  void attribute(const std::string& object, const std::string& name, double value);
  /// Writes, flushes and renames the file; without it no file remains.
  void commit();

 private:
  friend void copy_hdf5(const class Hdf5Reader&, const std::string&, Hdf5Writer&, const std::string&);

  OutputFile output_;
  std::filesystem::path path_;
  int64_t file_ = -1;
};

class Hdf5Reader {
 public:
  /// Reads the whole file once to check it; throws DamageError if it is damaged or not an HDF5 file.
  explicit Hdf5Reader(const std::filesystem::path& path);
  ~Hdf5Reader();
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;
  bool has(const std::string& name) const;
  std::vector<int64_t> shape(const std::string& name) const;
  /// Values in row-major order, converted to the requested type. Throws DamageError for strings where numbers are
  /// requested, or the reverse.
  std::vector<float> floats(const std::string& name) const;
  std::vector<double> doubles(const std::string& name) const;
  std::vector<int64_t> integers(const std::string& name) const;
  std::vector<uint8_t> bytes(const std::string& name) const;
  std::vector<std::string> strings(const std::string& name) const;
  std::string text_attribute(const std::string& object, const std::string& name) const;
  int64_t integer_attribute(const std::string& object, const std::string& name) const;
  double real_attribute(const std::string& object, const std::string& name) const;
  bool has_attribute(const std::string& object, const std::string& name) const;
  /// Names of an object's attributes, in alphabetical order.
  std::vector<std::string> attribute_names(const std::string& object) const;
  /// Names directly inside a group ("" is the root), in alphabetical order.
  std::vector<std::string> names(const std::string& group) const;

 private:
  friend void copy_hdf5(const Hdf5Reader&, const std::string&, Hdf5Writer&, const std::string&);

  std::filesystem::path path_;
  int64_t file_ = -1;
};

/// Copies `from` of the reader (a group or a dataset, attributes included) to `to` of the writer.
void copy_hdf5(const Hdf5Reader& reader, const std::string& from, Hdf5Writer& writer, const std::string& to);

}  // namespace packhorse
