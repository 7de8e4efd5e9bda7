#include "hdf5/hdf5_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <numeric>
#include <type_traits>
#include <utility>

#include <hdf5.h>

#include "base/crc32c.h"
#include "base/error.h"

namespace packhorse {
namespace {

constexpr size_t kBlockBytes = 512;             // of the user block; HDF5 allows 512, 1024, 2048, ...
constexpr size_t kGrowBytes = size_t{1} << 20;  // the file in memory grows in steps of this size
constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";

/// An HDF5 identifier with one owner.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  bool good() const { return id_ >= 0; }

 private:
  hid_t id_;
  Close close_;
};

/// HDF5's innermost error, for our message; its own printing to stderr is turned off.
std::string last_error() {
  std::string text;
  const auto visit = [](unsigned, const H5E_error2_t* error, void* into) -> herr_t {
    auto& found = *static_cast<std::string*>(into);
    if (found.empty() && error->desc != nullptr) found = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "" : " (" + text + ")";
}

void silence() {
  static const herr_t done = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  (void)done;
}

std::string place(const std::filesystem::path& path, const std::string& object, const std::string& attribute = "") {
  return path.string() + ": /" + object + (attribute.empty() ? "" : " @" + attribute);
}

[[noreturn]] void cannot_write(const std::string& where) {
  throw Error({"HDF5 cannot write this" + last_error(), where, ""});
}
[[noreturn]] void cannot_read(const std::string& what, const std::string& where) {
  throw DamageError({what + last_error(), where,
                     "look at the file with h5dump; if another version wrote it, make it again with this one"});
}

/// The user block: states the size and the checksum of the rest of the file.
std::array<char, kBlockBytes> make_block(uint64_t bytes, uint32_t crc) {
  const std::string text = "packhorse hdf5/1\nbytes " + std::to_string(bytes) + "\ncrc32c " + crc32c_text(crc) +
                           "\nThe HDF5 file begins at byte 512; every HDF5 tool finds it.\n";
  std::array<char, kBlockBytes> block{};
  std::copy(text.begin(), text.end(), block.begin());
  return block;
}

/// Throws unless the file is, to the last bit, what was written.
void check_whole(const std::filesystem::path& path) {
  const InputFile file(path);
  std::array<char, kBlockBytes> found{};
  if (file.bytes() > kBlockBytes) file.read_at(0, std::as_writable_bytes(std::span(found)));
  if (std::string_view(found.data(), kSignature.size()) == kSignature) return;  // of another tool: nothing to compare
  uint32_t crc = 0;
  uint64_t bytes = 0;
  std::vector<std::byte> buffer(kGrowBytes);
  for (uint64_t at = kBlockBytes; at < file.bytes(); at += bytes) {
    bytes = std::min<uint64_t>(buffer.size(), file.bytes() - at);
    file.read_at(at, std::span(buffer).first(bytes));
    crc = crc32c(std::span(buffer).first(bytes), crc);
  }
  if (file.bytes() > kBlockBytes && found == make_block(file.bytes() - kBlockBytes, crc)) return;
  throw DamageError({"damaged, truncated, or not an HDF5 file of Packhorse (its checksum does not match)",
                     path.string(), "restore an older copy, or run the stage that makes it again"});
}

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

bool exists(hid_t file, const std::string& name) {
  if (name.empty()) return true;
  // HDF5 reports an error if a group on the path is missing, so each level is checked.
  for (size_t slash = name.find('/');; slash = name.find('/', slash + 1)) {
    if (H5Lexists(file, name.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      return false;
    }
    if (slash == std::string::npos) return true;
  }
}

void write_dataset(hid_t file, hid_t type, const std::string& name, const void* values, size_t count,
                   const std::vector<int64_t>& shape, const std::string& where) {
  const int64_t product = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  if (product < 0 || static_cast<size_t>(product) != count) {
    throw Error({"the shape has " + std::to_string(product) + " values, but " + std::to_string(count) + " are given",
                 where, ""});
  }
  const std::vector<hsize_t> sizes(shape.begin(), shape.end());
  const Handle space(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr), H5Sclose);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), false);  // the same values give the same bytes at any time
  const Handle set(H5Dcreate2(file, name.c_str(), type, space.get(), links.get(), creation.get(), H5P_DEFAULT),
                   H5Dclose);
  if (!set.good()) cannot_write(where);
  if (count > 0 && H5Dwrite(set.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) cannot_write(where);
}

void write_attribute(hid_t file, hid_t type, const std::string& object, const std::string& name, const void* value,
                     const std::string& where) {
  if (!exists(file, object)) {
    const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(links.get(), 1);
    const Handle group(H5Gcreate2(file, object.c_str(), links.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    if (!group.good()) cannot_write(where);
  }
  const Handle owner(H5Oopen(file, object.empty() ? "/" : object.c_str(), H5P_DEFAULT), H5Oclose);
  if (!owner.good()) cannot_write(where);
  if (H5Aexists(owner.get(), name.c_str()) > 0) H5Adelete(owner.get(), name.c_str());
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle made(H5Acreate2(owner.get(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!made.good() || H5Awrite(made.get(), type, value) < 0) cannot_write(where);
}

void refuse_zero_byte(const std::string& text, const std::string& where) {
  if (text.find('\0') != std::string::npos) throw Error({"a string with a zero byte cannot be stored", where, ""});
}

/// A dataset opened for reading, with its number of values.
struct Source {
  Handle set;
  Handle space;
  size_t count = 0;

  Source(hid_t file, const std::string& name, const std::string& where)
      : set(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose),
        space(set.good() ? H5Dget_space(set.get()) : -1, H5Sclose) {
    if (!space.good()) cannot_read("no such dataset", where);
    const hssize_t points = H5Sget_simple_extent_npoints(space.get());
    if (points < 0) cannot_read("the dataset has no shape", where);
    count = static_cast<size_t>(points);
    check_size(file, where);
  }
  H5T_class_t kind() const {
    const Handle type(H5Dget_type(set.get()), H5Tclose);
    return H5Tget_class(type.get());
  }

 private:
  // Nothing that we read is compressed: values lie in the file, in no other one, and memory is asked for only after
  // that is known.
  void check_size(hid_t file, const std::string& where) const {
    const Handle creation(H5Dget_create_plist(set.get()), H5Pclose), type(H5Dget_type(set.get()), H5Tclose);
    if (H5Pget_external_count(creation.get()) > 0) cannot_read("the dataset's values lie in another file", where);
    hsize_t bytes = 0;
    const size_t width = H5Tget_size(type.get());
    if (H5Fget_filesize(file, &bytes) < 0 || (width > 0 && count > bytes / width))
      cannot_read("the dataset declares more values than the file has bytes for", where);
  }
};

template <typename T>
std::vector<T> read_numbers(hid_t file, hid_t type, const std::string& name, const std::string& where) {
  const Source source(file, name, where);
  const H5T_class_t kind = source.kind();
  if (kind != H5T_FLOAT && kind != H5T_INTEGER) cannot_read("the dataset does not hold numbers", where);
  std::vector<T> values(source.count);
  if (source.count > 0 && H5Dread(source.set.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
    cannot_read("the dataset cannot be read", where);
  }
  return values;
}

/// Converts the values that `read` gives, of fixed or variable length as in the file, to strings.
std::vector<std::string> read_texts(hid_t type, hid_t space, size_t count, const std::string& where,
                                    const std::function<bool(hid_t type, void* into)>& read) {
  if (H5Tget_class(type) != H5T_STRING) cannot_read("the value is not a string", where);
  std::vector<std::string> texts(count);
  if (H5Tis_variable_str(type) > 0) {
    std::vector<char*> pointers(count, nullptr);
    if (count > 0 && !read(type, pointers.data())) cannot_read("the strings cannot be read", where);
    for (size_t i = 0; i < count; ++i) texts[i] = pointers[i] == nullptr ? "" : pointers[i];
    if (count > 0) H5Dvlen_reclaim(type, space, H5P_DEFAULT, pointers.data());
    return texts;
  }
  const size_t width = H5Tget_size(type);
  constexpr size_t kLongest = size_t{1} << 26;
  if (width > kLongest) cannot_read("the strings are longer than any of ours", where);
  std::vector<char> block(count * width);
  if (count > 0 && !read(type, block.data())) cannot_read("the strings cannot be read", where);
  for (size_t i = 0; i < count; ++i) texts[i].assign(&block[i * width], strnlen(&block[i * width], width));
  return texts;
}

/// An attribute opened for reading.
struct AttributeSource {
  Handle attribute;
  Handle type;
  AttributeSource(hid_t file, const std::string& object, const std::string& name, const std::string& where)
      : attribute(H5Aopen_by_name(file, object.empty() ? "/" : object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT),
                  H5Aclose),
        type(attribute.good() ? H5Aget_type(attribute.get()) : -1, H5Tclose) {
    if (!type.good()) cannot_read("no such attribute", where);
    const Handle space(H5Aget_space(attribute.get()), H5Sclose);
    if (H5Sget_simple_extent_npoints(space.get()) != 1) cannot_read("the attribute is not a single value", where);
  }
};

template <typename T>
T read_number(hid_t file, hid_t type, const std::string& object, const std::string& name, const std::string& where) {
  const AttributeSource source(file, object, name, where);
  const H5T_class_t kind = H5Tget_class(source.type.get());
  if (kind != H5T_FLOAT && kind != H5T_INTEGER) cannot_read("the attribute is not a number", where);
  // A real number would be cut to the nearest integer there is.
  if (std::is_integral_v<T> && kind != H5T_INTEGER) cannot_read("the attribute is not an integer", where);
  T value{};
  if (H5Aread(source.attribute.get(), type, &value) < 0) cannot_read("the attribute cannot be read", where);
  return value;
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : output_(path), path_(path) {
  silence();
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_fapl_core(access.get(), kGrowBytes, 0);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  H5Pset_userblock(creation.get(), kBlockBytes);
  // Objects have no timestamps (HDF5's default), so that the same content gives the same bytes.
  file_ = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get());
  if (file_ < 0) cannot_write(path.string());
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

void Hdf5Writer::write(const std::string& name, std::span<const float> values, const std::vector<int64_t>& shape) {
  write_dataset(file_, H5T_NATIVE_FLOAT, name, values.data(), values.size(), shape, place(path_, name));
}
void Hdf5Writer::write(const std::string& name, std::span<const double> values, const std::vector<int64_t>& shape) {
  write_dataset(file_, H5T_NATIVE_DOUBLE, name, values.data(), values.size(), shape, place(path_, name));
}
void Hdf5Writer::write(const std::string& name, std::span<const int64_t> values, const std::vector<int64_t>& shape) {
  write_dataset(file_, H5T_NATIVE_INT64, name, values.data(), values.size(), shape, place(path_, name));
}
void Hdf5Writer::write(const std::string& name, std::span<const uint32_t> values, const std::vector<int64_t>& shape) {
  write_dataset(file_, H5T_NATIVE_UINT32, name, values.data(), values.size(), shape, place(path_, name));
}
void Hdf5Writer::write(const std::string& name, std::span<const uint8_t> values, const std::vector<int64_t>& shape) {
  write_dataset(file_, H5T_NATIVE_UINT8, name, values.data(), values.size(), shape, place(path_, name));
}

void Hdf5Writer::write(const std::string& name, const std::vector<std::string>& values) {
  const std::string where = place(path_, name);
  std::vector<const char*> pointers;
  for (const std::string& value : values) {
    refuse_zero_byte(value, where);
    pointers.push_back(value.c_str());
  }
  const Handle type = text_type();
  write_dataset(file_, type.get(), name, pointers.data(), values.size(), {static_cast<int64_t>(values.size())}, where);
}

void Hdf5Writer::attribute(const std::string& object, const std::string& name, const std::string& value) {
  const std::string where = place(path_, object, name);
  refuse_zero_byte(value, where);
  const Handle type = text_type();
  const char* pointer = value.c_str();
  write_attribute(file_, type.get(), object, name, &pointer, where);
}
void Hdf5Writer::attribute(const std::string& object, const std::string& name, int64_t value) {
  write_attribute(file_, H5T_NATIVE_INT64, object, name, &value, place(path_, object, name));
}
void Hdf5Writer::attribute(const std::string& object, const std::string& name, double value) {
  write_attribute(file_, H5T_NATIVE_DOUBLE, object, name, &value, place(path_, object, name));
}

void Hdf5Writer::commit() {
  void** memory = nullptr;
  if (H5Fflush(file_, H5F_SCOPE_GLOBAL) < 0 ||
      H5Fget_vfd_handle(file_, H5P_DEFAULT, reinterpret_cast<void**>(&memory)) < 0) {
    cannot_write(path_.string());
  }
  // The memory is longer than the file because it grows in steps: the file ends where HDF5's addresses end.
  const ssize_t bytes = H5Fget_file_image(file_, nullptr, 0);
  if (bytes < 0 || memory == nullptr) cannot_write(path_.string());
  const std::span body(static_cast<const std::byte*>(*memory) + kBlockBytes, static_cast<size_t>(bytes));
  const auto block = make_block(body.size(), crc32c(body));
  output_.write(std::string_view(block.data(), block.size()));
  output_.write(body);
  output_.commit();
}

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) : path_(path) {
  silence();
  H5PLset_loading_state(0);  // a file must not name code to load
  check_whole(path);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  // No locks: files are replaced, never changed, and some file systems do not support locks.
  H5Pset_file_locking(access.get(), false, true);
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  if (file_ < 0) cannot_read("not an HDF5 file, or damaged", path.string());
}

Hdf5Reader::~Hdf5Reader() {
  if (file_ >= 0) H5Fclose(file_);
}

bool Hdf5Reader::has(const std::string& name) const { return exists(file_, name); }

std::vector<int64_t> Hdf5Reader::shape(const std::string& name) const {
  const Source source(file_, name, place(path_, name));
  std::vector<hsize_t> sizes(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(source.space.get()))));
  H5Sget_simple_extent_dims(source.space.get(), sizes.data(), nullptr);
  return {sizes.begin(), sizes.end()};
}

std::vector<float> Hdf5Reader::floats(const std::string& name) const {
  return read_numbers<float>(file_, H5T_NATIVE_FLOAT, name, place(path_, name));
}
std::vector<double> Hdf5Reader::doubles(const std::string& name) const {
  return read_numbers<double>(file_, H5T_NATIVE_DOUBLE, name, place(path_, name));
}
std::vector<int64_t> Hdf5Reader::integers(const std::string& name) const {
  return read_numbers<int64_t>(file_, H5T_NATIVE_INT64, name, place(path_, name));
}
std::vector<uint8_t> Hdf5Reader::bytes(const std::string& name) const {
  return read_numbers<uint8_t>(file_, H5T_NATIVE_UINT8, name, place(path_, name));
}

std::vector<std::string> Hdf5Reader::strings(const std::string& name) const {
  const std::string where = place(path_, name);
  const Source source(file_, name, where);
  const Handle type(H5Dget_type(source.set.get()), H5Tclose);
  return read_texts(type.get(), source.space.get(), source.count, where, [&](hid_t as, void* into) {
    return H5Dread(source.set.get(), as, H5S_ALL, H5S_ALL, H5P_DEFAULT, into) >= 0;
  });
}

std::string Hdf5Reader::text_attribute(const std::string& object, const std::string& name) const {
  const std::string where = place(path_, object, name);
  const AttributeSource source(file_, object, name, where);
  const Handle space(H5Aget_space(source.attribute.get()), H5Sclose);
  return read_texts(source.type.get(), space.get(), 1, where,
                    [&](hid_t as, void* into) { return H5Aread(source.attribute.get(), as, into) >= 0; })[0];
}
int64_t Hdf5Reader::integer_attribute(const std::string& object, const std::string& name) const {
  return read_number<int64_t>(file_, H5T_NATIVE_INT64, object, name, place(path_, object, name));
}
double Hdf5Reader::real_attribute(const std::string& object, const std::string& name) const {
  return read_number<double>(file_, H5T_NATIVE_DOUBLE, object, name, place(path_, object, name));
}
bool Hdf5Reader::has_attribute(const std::string& object, const std::string& name) const {
  return exists(file_, object) &&
         H5Aexists_by_name(file_, object.empty() ? "/" : object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> Hdf5Reader::attribute_names(const std::string& object) const {
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5A_info_t*, void* into) -> herr_t {
    static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return 0;
  };
  const char* owner = object.empty() ? "/" : object.c_str();
  if (H5Aiterate_by_name(file_, owner, H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names, H5P_DEFAULT) < 0) {
    cannot_read("no such object", place(path_, object));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> Hdf5Reader::names(const std::string& group) const {
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* into) -> herr_t {
    static_cast<std::vector<std::string>*>(into)->emplace_back(name);
    return 0;
  };
  const Handle owner(H5Gopen2(file_, group.empty() ? "/" : group.c_str(), H5P_DEFAULT), H5Gclose);
  if (!owner.good() || H5Literate(owner.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names) < 0) {
    cannot_read("no such group", place(path_, group));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void copy_hdf5(const Hdf5Reader& reader, const std::string& from, Hdf5Writer& writer, const std::string& to) {
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  if (H5Ocopy(reader.file_, from.c_str(), writer.file_, to.c_str(), H5P_DEFAULT, links.get()) < 0) {
    cannot_read("cannot be copied", place(reader.path_, from));
  }
}

}  // namespace packhorse
