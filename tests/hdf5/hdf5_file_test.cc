#include "hdf5/hdf5_file.h"

#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include <gtest/gtest.h>
#include <hdf5.h>

#include "base/error.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

using Texts = std::vector<std::string>;

class Hdf5File : public testing::Test {
 protected:
  /// One of each kind of value.
  void write_sample(const std::filesystem::path& path) {
    Hdf5Writer writer(path);
    writer.write("steps/loss", std::vector<double>{2.5, 1.25, std::numeric_limits<double>::quiet_NaN()}, {3});
    writer.write("weights/3a/conv", std::vector<float>{1, -2, 0.5f, 1e-38f, 5, 6}, {2, 3});
    writer.write("counts", std::vector<int64_t>{-1, int64_t{1} << 60}, {2, 1});
    writer.write("crc", std::vector<uint32_t>{0xffffffff}, {1});
    writer.write("jpeg", std::vector<uint8_t>{0xff, 0xd8, 0}, {3});
    writer.write("nothing", std::vector<float>{}, {0});
    writer.write("names", Texts{"n01440764", "", "crêpe 猫", std::string(100'000, 'x')});
    writer.attribute("", "schema", std::string("packhorse/test/1"));
    writer.attribute("", "settings", std::string(200'000, 's'));  // larger than HDF5's limit for an attribute itself
    writer.attribute("steps/loss", "unit", std::string("nats"));
    writer.attribute("steps/loss", "unit", std::string("nat"));
    writer.attribute("empty/group", "epoch", int64_t{7});
    writer.attribute("", "top1", 0.6830000000000001);
    writer.commit();
  }
  /// Writes without a flush to disk, because the tests write many files.
  static void put(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  static std::string bytes_of(const std::filesystem::path& path) { return read_text(path); }

  TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "sample.h5";
};

TEST_F(Hdf5File, ReturnsWhatWasWritten) {
  write_sample(path_);
  const Hdf5Reader reader(path_);
  const auto loss = reader.doubles("steps/loss");
  ASSERT_EQ(loss.size(), 3u);
  EXPECT_EQ(loss[0], 2.5);
  EXPECT_TRUE(std::isnan(loss[2]));
  EXPECT_EQ(reader.floats("weights/3a/conv"), (std::vector<float>{1, -2, 0.5f, 1e-38f, 5, 6}));
  EXPECT_EQ(reader.shape("weights/3a/conv"), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(reader.integers("counts"), (std::vector<int64_t>{-1, int64_t{1} << 60}));
  EXPECT_EQ(reader.integers("crc"), (std::vector<int64_t>{0xffffffff}));
  EXPECT_EQ(reader.bytes("jpeg"), (std::vector<uint8_t>{0xff, 0xd8, 0}));
  EXPECT_TRUE(reader.floats("nothing").empty());
  EXPECT_EQ(reader.strings("names"), (Texts{"n01440764", "", "crêpe 猫", std::string(100'000, 'x')}));
  EXPECT_EQ(reader.text_attribute("", "settings"), std::string(200'000, 's'));
  EXPECT_EQ(reader.text_attribute("steps/loss", "unit"), "nat");
  EXPECT_EQ(reader.integer_attribute("empty/group", "epoch"), 7);
  EXPECT_EQ(reader.real_attribute("", "top1"), 0.6830000000000001);
  EXPECT_TRUE(reader.has_attribute("", "top1"));
  EXPECT_FALSE(reader.has_attribute("", "top5"));
  EXPECT_FALSE(reader.has_attribute("no/such", "top5"));
  EXPECT_TRUE(reader.has("weights/3a"));
  EXPECT_FALSE(reader.has("weights/3b/conv"));
  EXPECT_EQ(reader.names(""), (Texts{"counts", "crc", "empty", "jpeg", "names", "nothing", "steps", "weights"}));
}

TEST_F(Hdf5File, SameContentGivesSameBytes) {
  write_sample(path_);
  write_sample(folder_.path() / "again.h5");
  EXPECT_EQ(bytes_of(path_), bytes_of(folder_.path() / "again.h5"));
}

TEST_F(Hdf5File, OpensInH5dump) {
  write_sample(path_);
  const std::string out = (folder_.path() / "dump.txt").string();
  ASSERT_EQ(std::system(("h5dump " + path_.string() + " > " + out + " 2>&1").c_str()), 0);
  const std::string dump = read_text(out);
  EXPECT_NE(dump.find("DATASET \"loss\""), std::string::npos);
  EXPECT_NE(dump.find("\"packhorse/test/1\""), std::string::npos);
}

TEST_F(Hdf5File, EveryFlippedByteIsRefused) {
  {
    Hdf5Writer writer(path_);
    writer.write("a", std::vector<float>{1, 2, 3}, {3});
    writer.commit();
  }
  const std::string good = bytes_of(path_);
  const auto bad = folder_.path() / "bad.h5";
  for (size_t at = 0; at < good.size(); at += at < 600 ? 1 : 7) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
    put(bad, flipped);
    EXPECT_THROW(Hdf5Reader reader(bad), DamageError) << "byte " << at;
  }
}

TEST_F(Hdf5File, EveryLengthButTheRightOneIsRefused) {
  write_sample(path_);
  const std::string good = bytes_of(path_);
  const auto bad = folder_.path() / "bad.h5";
  for (const size_t length :
       {size_t{0}, size_t{1}, size_t{511}, size_t{512}, size_t{513}, size_t{1024}, good.size() / 2, good.size() - 1}) {
    put(bad, good.substr(0, length));
    EXPECT_THROW(Hdf5Reader reader(bad), DamageError) << length;
  }
  put(bad, good + '\0');
  EXPECT_THROW(Hdf5Reader reader(bad), DamageError);
  put(bad, "not HDF5 at all");
  EXPECT_THROW(Hdf5Reader reader(bad), DamageError);
  EXPECT_THROW(Hdf5Reader reader(folder_.path() / "missing.h5"), Error);
}

TEST_F(Hdf5File, AFileOfAnotherToolIsReadOrRefusedIfDamaged) {
  write_sample(path_);
  const auto plain = folder_.path() / "plain.h5";
  write_text(plain, bytes_of(path_).substr(512));  // without the user block: a plain HDF5 file, no checksum
  EXPECT_EQ(Hdf5Reader(plain).text_attribute("steps/loss", "unit"), "nat");
  const std::string good = bytes_of(plain);
  write_text(plain, good.substr(0, good.size() / 2));
  EXPECT_THROW(Hdf5Reader reader(plain), DamageError);
}

// A file that somebody made on purpose, with libhdf5 itself.
class ForgedHdf5 : public Hdf5File {
 protected:
  template <typename Make>
  std::string refusal_of(const Make& make, const std::string& name = "forged") {
    const hid_t file = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    make(file);
    H5Fclose(file);
    try {
      const Hdf5Reader reader(path_);
      name.empty() ? void(reader.integer_attribute("", "step")) : void(reader.floats(name));
    } catch (const DamageError& error) {
      return error.what();
    }
    return "none";
  }
};

TEST_F(ForgedHdf5, MoreValuesThanBytesAreRefusedBeforeMemoryIsAskedFor) {
  const std::string refusal = refusal_of([](hid_t file) {
    const hsize_t size = hsize_t{1} << 42, chunk = 1024;
    const hid_t space = H5Screate_simple(1, &size, nullptr), creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 1, &chunk);
    H5Dclose(H5Dcreate2(file, "forged", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, creation, H5P_DEFAULT));
    H5Pclose(creation);
    H5Sclose(space);
  });
  EXPECT_NE(refusal.find("more values than the file has bytes for"), std::string::npos) << refusal;
}

TEST_F(ForgedHdf5, ValuesOfAnotherFileAreRefused) {
  const auto secret = folder_.path() / "secret";
  write_text(secret, "0123456789abcdef");
  const std::string refusal = refusal_of([&](hid_t file) {
    const hsize_t size = 4;
    const hid_t space = H5Screate_simple(1, &size, nullptr), creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(creation, secret.c_str(), 0, 16);
    H5Dclose(H5Dcreate2(file, "forged", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, creation, H5P_DEFAULT));
    H5Pclose(creation);
    H5Sclose(space);
  });
  EXPECT_NE(refusal.find("lie in another file"), std::string::npos) << refusal;
}

TEST_F(ForgedHdf5, AStepThatIsNoIntegerIsRefused) {
  const std::string refusal = refusal_of(
      [](hid_t file) {
        const double step = 1e300;
        const hid_t space = H5Screate(H5S_SCALAR);
        const hid_t made = H5Acreate2(file, "step", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(made, H5T_NATIVE_DOUBLE, &step);
        H5Aclose(made);
        H5Sclose(space);
      },
      "");
  EXPECT_NE(refusal.find("not an integer"), std::string::npos) << refusal;
}

TEST_F(Hdf5File, MisuseIsAnError) {
  write_sample(path_);
  const Hdf5Reader reader(path_);
  EXPECT_THROW(reader.floats("missing"), DamageError);
  EXPECT_THROW(reader.floats("steps"), DamageError);
  EXPECT_THROW(reader.floats("names"), DamageError);
  EXPECT_THROW(reader.strings("counts"), DamageError);
  EXPECT_THROW(reader.text_attribute("", "top1"), DamageError);
  EXPECT_THROW(reader.integer_attribute("", "schema"), DamageError);
  EXPECT_THROW(reader.real_attribute("", "missing"), DamageError);
  EXPECT_THROW(reader.names("missing"), DamageError);
  Hdf5Writer writer(folder_.path() / "other.h5");
  EXPECT_THROW(writer.write("a", std::vector<float>{1, 2, 3}, {2}), Error);
  EXPECT_THROW(writer.write("b", Texts{std::string("a\0b", 3)}), Error);
  writer.write("c", std::vector<float>{1}, {1});
  EXPECT_THROW(writer.write("c", std::vector<float>{1}, {1}), Error);
}

TEST_F(Hdf5File, WithoutCommitNoFileRemains) {
  Hdf5Writer(path_).write("a", std::vector<float>{1}, {1});
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(Hdf5File, AFullDiskIsAnErrorAndKeepsTheOldFile) {
  write_sample(path_);
  const std::string before = bytes_of(path_);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{1000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  EXPECT_THROW(write_sample(path_), Error);
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(bytes_of(path_), before);
  EXPECT_FALSE(std::filesystem::exists(path_.string() + ".part"));
}

TEST_F(Hdf5File, AMissingFolderIsAnError) { EXPECT_THROW(Hdf5Writer writer(folder_.path() / "no" / "such.h5"), Error); }

TEST_F(Hdf5File, CopiesGroupsWithTheirAttributes) {
  write_sample(path_);
  const auto copy = folder_.path() / "copy.h5";
  {
    const Hdf5Reader reader(path_);
    Hdf5Writer writer(copy);
    copy_hdf5(reader, "steps", writer, "evaluation/steps");
    copy_hdf5(reader, "names", writer, "evaluation/names");
    EXPECT_THROW(copy_hdf5(reader, "missing", writer, "x"), DamageError);
    writer.commit();
  }
  const Hdf5Reader reader(copy);
  EXPECT_EQ(reader.doubles("evaluation/steps/loss")[1], 1.25);
  EXPECT_EQ(reader.text_attribute("evaluation/steps/loss", "unit"), "nat");
  EXPECT_EQ(reader.strings("evaluation/names")[2], "crêpe 猫");
}

}  // namespace
}  // namespace packhorse::test
