#include "verify/verify_run.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/files.h"
#include "support/packed.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;

class Verify : public ::testing::Test {
 protected:
  Verify() : manifest_(test::write_packed(folder_.path(), {.records = 30}, {.records = 8})) {
    // What the made manifest lacks of a real one.
    Json json = read_json(manifest_);
    json["counts"] = {{"listed", 38}, {"packed", 38}, {"quarantined", 0}};
    write_json(manifest_, json);
  }
  Findings verify(const fs::path& path) {
    World world;
    return run_verify(world, make_verify_job(path));
  }
  fs::path shard(size_t i) { return StageManifest::load(manifest_).outputs_of("train-shard")[i].path; }
  static void flip(const fs::path& path, size_t at) {
    std::string bytes = read_text(path);
    bytes.at(at) = static_cast<char>(bytes[at] ^ 1);
    write_text(path, bytes);
  }
  test::TempDir folder_;
  fs::path manifest_;
};

TEST_F(Verify, FindsNothingInWhatIsSound) {
  const Findings found = verify(manifest_);
  EXPECT_EQ(found.damages, 0u) << found.text;
  EXPECT_EQ(found.records, 38u);
  EXPECT_EQ(found.unchecked, 0u);
  EXPECT_EQ(found.bytes, make_verify_job(manifest_).bytes());
  EXPECT_NE(result_text(found).find("38 records: all sound"), std::string::npos) << result_text(found);
}

TEST_F(Verify, NamesARecordAndGoesOnToTheNextFile) {
  flip(shard(0), fs::file_size(shard(0)) / 2);
  fs::remove(shard(1));
  const Findings found = verify(manifest_);
  EXPECT_NE(found.text.find(shard(0).filename().string() + " record "), std::string::npos) << found.text;
  EXPECT_NE(found.text.find(shard(1).filename().string()), std::string::npos) << found.text;
  EXPECT_NE(result_text(found).find("damaged"), std::string::npos);
}

TEST_F(Verify, FindsCountsThatDoNotAddUp) {
  Json json = read_json(manifest_);
  json["counts"]["quarantined"] = 1;
  write_json(manifest_, json);
  EXPECT_NE(verify(manifest_).text.find("do not add up"), std::string::npos);
}

TEST_F(Verify, FindsAShardWithoutItsIndex) {
  Json json = read_json(manifest_);
  Json outputs = Json::array();
  bool left_out = false;
  for (const Json& output : json["outputs"]) {
    const bool index = output["role"] == "train-index";
    if (!index || left_out) outputs.push_back(output);
    left_out = left_out || index;
  }
  json["outputs"] = outputs;
  write_json(manifest_, json);
  const std::string text = verify(manifest_).text;
  EXPECT_NE(text.find("names no index of it"), std::string::npos) << text;
}

TEST_F(Verify, FindsKeysThatAreNotTheRecords) {
  const fs::path idx = StageManifest::load(manifest_).outputs_of("train-index")[0].path;
  std::string text = read_text(idx);
  const size_t tab = text.find('\t');
  write_text(idx, "12345" + text.substr(tab));
  // As if somebody had made the manifest anew: the checksum fits.
  Json json = read_json(manifest_);
  const FileFacts facts = file_facts(idx);
  for (Json& output : json["outputs"])
    if (output["path"].get<std::string>().ends_with(idx.filename().string())) {
      output["bytes"] = facts.bytes;
      output["crc32c"] = crc32c_text(facts.crc32c);
    }
  write_json(manifest_, json);
  const std::string found = verify(manifest_).text;
  EXPECT_NE(found.find("its key in the index is 12345"), std::string::npos) << found;
}

TEST_F(Verify, FindsAnotherClassTable) {
  const fs::path table = StageManifest::load(manifest_).output_of("class-table").path;
  const std::string text = read_text(table);
  write_text(table, "0\tother" + text.substr(text.find('\t', 2)));
  EXPECT_NE(verify(manifest_).text.find("class table"), std::string::npos) << verify(manifest_).text;
}

TEST_F(Verify, AShardByItselfNeedsOnlyItsIndex) {
  const Findings found = verify(shard(0));
  EXPECT_EQ(found.damages, 0u) << found.text;
  EXPECT_EQ(found.files, 2u);
  fs::remove(fs::path(shard(0)).replace_extension(".idx"));
  EXPECT_THROW(make_verify_job(shard(0)), Error);
}

TEST_F(Verify, ReportsTheFirstRecordsOfAGarbledShardAndCountsTheRest) {
  const fs::path rec = shard(0);
  std::string bytes = read_text(rec);
  for (size_t at = 40; at < bytes.size(); at += 50) bytes[at] = static_cast<char>(bytes[at] ^ 1);
  write_text(rec, bytes);
  const Findings found = verify(rec);
  EXPECT_EQ(found.damages, 15u) << "every record of the shard";
  EXPECT_EQ(found.records, 15u);
}

}  // namespace
}  // namespace packhorse
