// HDF5 with owners and errors: the only place that sees hdf5.h. Names are paths ("steps/loss"); groups are made as
// needed.
//
// Writing goes to `PATH.part`; commit() flushes and renames, so a reader sees the old file or the new one, whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace packhorse {

class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;
  /// Datasets of the given shape (row-major); the product of `shape` must equal the number of values.
  void write(const std::string& name, std::span<const float> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, std::span<const double> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, std::span<const int64_t> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, std::span<const uint32_t> values, const std::vector<int64_t>& shape);
  void write(const std::string& name, const std::vector<std::string>& values);
  /// Attributes of a dataset, of a group, or of the root ("").
  void attribute(const std::string& object, const std::string& name, const std::string& value);
  void attribute(const std::string& object, const std::string& name, int64_t value);
  void attribute(const std::string& object, const std::string& name, double value);
  void commit();

 private:
  std::filesystem::path path_, part_;
  int64_t file_ = -1;
  bool committed_ = false;
};

class Hdf5Reader {
 public:
  /// Throws DamageError for a file that HDF5 cannot open.
  explicit Hdf5Reader(const std::filesystem::path& path);
  ~Hdf5Reader();
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;
  bool has(const std::string& name) const;
  std::vector<int64_t> shape(const std::string& name) const;
  std::vector<float> floats(const std::string& name) const;
  std::vector<double> doubles(const std::string& name) const;
  std::vector<int64_t> integers(const std::string& name) const;
  std::vector<std::string> strings(const std::string& name) const;
  std::string text_attribute(const std::string& object, const std::string& name) const;
  int64_t integer_attribute(const std::string& object, const std::string& name) const;
  double real_attribute(const std::string& object, const std::string& name) const;
  bool has_attribute(const std::string& object, const std::string& name) const;
  /// Names directly inside a group ("" is the root), in alphabetical order.
  std::vector<std::string> names(const std::string& group) const;

 private:
  std::filesystem::path path_;
  int64_t file_ = -1;
};

}  // namespace packhorse
