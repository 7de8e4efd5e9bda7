#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/philox.h"
#include "record/shard_reader.h"
#include "record/shard_writer.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

using Bytes = std::vector<std::byte>;
using test::TempDir;

Bytes image(uint64_t id) {
  RandomStream random(4, RandomUse::test, 0, id);
  Bytes bytes(random.below(90));
  for (std::byte& each : bytes) each = static_cast<std::byte>(random.next() & 0xff);
  if (id % 3 == 0 && bytes.size() > 12) std::memcpy(bytes.data() + 8, &kRecordMagic, 4);
  return bytes;
}

ShardPath paths(const TempDir& folder, const std::string& name) {
  return {folder / (name + ".rec"), folder / (name + ".idx")};
}

ShardPath write_shard(const TempDir& folder, const std::string& name, uint64_t first, uint64_t count) {
  ShardPath path = paths(folder, name);
  ShardWriter writer(path.rec, path.idx);
  for (uint64_t id = first; id < first + count; ++id) writer.append(id, static_cast<uint32_t>(id % 7), image(id));
  writer.commit();
  return path;
}

TEST(Shard, NumbersRecordsOverAllShards) {
  const TempDir folder;
  const ShardReader reader({write_shard(folder, "a", 0, 5), write_shard(folder, "empty", 5, 0),
                            write_shard(folder, "b", 5, 1), write_shard(folder, "c", 6, 30)});
  ASSERT_EQ(reader.records(), 36u);
  EXPECT_EQ(reader.name_of(0), "a.rec record 0");
  EXPECT_EQ(reader.name_of(5), "b.rec record 0");
  EXPECT_EQ(reader.name_of(35), "c.rec record 29");
  EXPECT_GE(reader.index_bytes(), 36 * 8u);
  Bytes buffer;
  for (const uint64_t index : {35, 0, 5, 4, 6, 17}) {
    const Record record = reader.read(index, buffer);
    EXPECT_EQ(record.id, index);
    EXPECT_EQ(record.label, index % 7);
    EXPECT_EQ(Bytes(record.image.begin(), record.image.end()), image(index));
  }
  reader.will_need(0, 36);
  reader.will_need(4, 100);
  EXPECT_THROW(reader.read(36, buffer), Error);
}

TEST(Shard, ManyThreadsReadAtTheSameTime) {
  const TempDir folder;
  const ShardReader reader({write_shard(folder, "a", 0, 200), write_shard(folder, "b", 200, 200)});
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Bytes buffer;
      for (uint64_t i = 0; i < 400; ++i) wrong += reader.read((i * 7 + t) % 400, buffer).id != (i * 7 + t) % 400;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Shard, KnowsSizeAndChecksumOfItsFiles) {
  const TempDir folder;
  const ShardPath path = paths(folder, "a");
  ShardWriter writer(path.rec, path.idx);
  for (uint64_t id = 0; id < 9; ++id) writer.append(id, 1, image(id));
  EXPECT_FALSE(std::filesystem::exists(path.rec)) << "the shard is visible before commit()";
  writer.commit();
  EXPECT_EQ(writer.records(), 9u);
  EXPECT_EQ(writer.rec_facts().bytes, file_facts(path.rec).bytes);
  EXPECT_EQ(writer.rec_facts().crc32c, file_facts(path.rec).crc32c);
  EXPECT_EQ(writer.idx_facts().crc32c, file_facts(path.idx).crc32c);
}

TEST(Shard, LeavesNothingWithoutCommit) {
  const TempDir folder;
  {
    const ShardPath path = paths(folder, "a");
    ShardWriter writer(path.rec, path.idx);
    writer.append(0, 0, image(1));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

/// Like write_text(), but faster: it does not wait until the file is on disk.
void overwrite(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// Whether opening the shard and reading all of it finds an error.
bool is_damaged(const ShardPath& path, uint64_t records) {
  try {
    const ShardReader reader({path});
    Bytes buffer;
    for (uint64_t i = 0; i < reader.records(); ++i) {
      const Record record = reader.read(i, buffer);
      if (!record.checked || record.id != i || record.label != i % 7) return true;
    }
    return reader.records() != records;
  } catch (const Error&) {
    return true;
  }
}

TEST(Shard, DetectsEachChangedByte) {
  const TempDir folder;
  const ShardPath path = write_shard(folder, "a", 0, 12);
  ASSERT_FALSE(is_damaged(path, 12));
  const std::string good = read_text(path.rec);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    overwrite(path.rec, bytes);
    EXPECT_TRUE(is_damaged(path, 12)) << "byte " << at;
  }
}

TEST(Shard, DetectsEachTruncation) {
  const TempDir folder;
  const ShardPath path = write_shard(folder, "a", 0, 4);
  const std::string good = read_text(path.rec);
  for (size_t length = 0; length < good.size(); ++length) {
    overwrite(path.rec, good.substr(0, length));
    EXPECT_TRUE(is_damaged(path, 4)) << length;
  }
}

TEST(Shard, RefusesAnIndexThatDoesNotFit) {
  const TempDir folder;
  const ShardPath path = write_shard(folder, "a", 0, 4);
  const std::string good = read_text(path.idx);
  const std::string rest = good.substr(good.find('\n') + 1);
  for (const std::string& text :
       {rest, std::string(), good + "9\t99999999\n", std::string("0 0\n"), std::string("0\t0\n1\t2\n"),
        std::string("0\t0\n1\t0\n"), std::string("0\tzero\n"), std::string("\t0\n"), good + "\n\n",
        std::string("0\t-4\n"), std::string("0\t18446744073709551616\n")}) {
    overwrite(path.idx, text);
    EXPECT_THROW(ShardReader({path}), DamageError) << text;
  }
  std::filesystem::remove(path.idx);
  EXPECT_THROW(ShardReader({path}), Error);
}

TEST(Shard, SortsAnIndexOutOfOrder) {
  const TempDir folder;
  const ShardPath path = write_shard(folder, "a", 0, 2);
  const std::string good = read_text(path.idx);
  const size_t cut = good.find('\n') + 1;
  overwrite(path.idx, good.substr(cut) + good.substr(0, cut));
  EXPECT_FALSE(is_damaged(path, 2));
}

TEST(Shard, ReportsAFullDisk) {
  // Every write to this device fails because it has no space.
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TempDir folder;
  const ShardPath path = paths(folder, "a");
  std::filesystem::create_symlink("/dev/full", path.rec.string() + ".part");
  const auto fill = [&] {
    ShardWriter writer(path.rec, path.idx);
    for (uint64_t id = 0; id < 9; ++id) writer.append(id, 1, image(id));
    writer.commit();
  };
  try {
    fill();
    FAIL() << "a write to a full disk succeeded";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("No space left"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(path.rec));
  EXPECT_FALSE(std::filesystem::exists(path.idx));
}

}  // namespace
}  // namespace packhorse
