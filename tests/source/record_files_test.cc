// Sources made of RecordIO files, as MXNet's im2rec leaves them.
#include <cstring>

#include <gtest/gtest.h>

#include "base/files.h"
#include "record/recordio.h"
#include "source/image_reader.h"
#include "source/made_sources.h"
#include "support/temp_dir.h"

namespace packhorse::test {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

Bytes bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
std::string text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// A record as im2rec writes it: without a checksum, and with `labels` behind the header if there are not one.
Bytes foreign_record(const std::vector<float>& labels, const std::string& image) {
  std::string payload(kRecordHeaderBytes, '\0');
  const uint32_t flag = labels.size() == 1 ? 0 : static_cast<uint32_t>(labels.size());
  std::memcpy(payload.data(), &flag, sizeof flag);
  if (flag == 0) std::memcpy(payload.data() + 4, labels.data(), sizeof(float));
  if (flag > 0) payload.append(reinterpret_cast<const char*>(labels.data()), labels.size() * sizeof(float));
  payload += image;
  std::string record(kPartHeaderBytes, '\0');
  const auto length = static_cast<uint32_t>(payload.size());
  std::memcpy(record.data(), &kRecordMagic, sizeof kRecordMagic);
  std::memcpy(record.data() + 4, &length, sizeof length);
  record += payload;
  record.resize((record.size() + 3) / 4 * 4);
  return bytes_of(record);
}

class RecordSources : public ::testing::Test {
 protected:
  void add(const std::string& file, const Bytes& record) { content_[file] += text_of(record); }
  void add(const std::string& file, uint32_t label, const std::string& image) {
    Bytes record;
    append_record(7, label, std::as_bytes(std::span(image)), record);
    add(file, record);
  }
  fs::path written(const std::string& name) {
    for (const auto& [file, content] : content_) put(folder_ / file, content);
    return folder_ / name;
  }
  /// "class: bytes" of each image, as pack would read it.
  static std::vector<std::string> read(const fs::path& source) {
    const SourceImages found = list_source(source, Labels::by_source);
    const ImageReader reader(source);
    std::vector<std::string> all;
    for (const ImageEntry& image : found.images) {
      Bytes bytes;
      reader.read(image, bytes);
      all.push_back(found.classes[image.label] + ": " + text_of(bytes));
    }
    return all;
  }

  TempDir folder_;
  std::map<std::string, std::string> content_;
};

const std::string kMagicText(reinterpret_cast<const char*>(&kRecordMagic), sizeof kRecordMagic);

TEST_F(RecordSources, GiveEachImageAsItWasRecorded) {
  // The third contains the magic where a record is split, twice in a row; the fifth's header does (its id).
  const std::string split = "abcd" + kMagicText + kMagicText + "xyz";
  add("a.rec", 10, "ten");
  add("a.rec", 2, "two");
  add("a.rec", 10, split);
  add("a.rec", foreign_record({3}, "three"));
  Bytes odd;
  append_record(kRecordMagic, 4, std::as_bytes(std::span(split)), odd);
  add("a.rec", odd);
  EXPECT_EQ(read(written("a.rec")),
            (std::vector<std::string>{"2: two", "3: three", "4: " + split, "10: ten", "10: " + split}))
      << "classes are sorted as numbers";
  EXPECT_EQ(images_of(list_source(folder_ / "a.rec", Labels::by_source)),
            (std::vector<std::string>{"2 a.rec/1", "3 a.rec/3", "4 a.rec/4", "10 a.rec/0", "10 a.rec/2"}));
}

TEST_F(RecordSources, MayBeAFolderWithIndexesAndLists) {
  add("set/b.rec", 1, "b");
  add("set/a.rec", 0, "a");
  content_["set/a.idx"] = "0\t0\n";
  content_["set/a.lst"] = "0\t0\ta.jpg\n";
  content_["set/README"] = "what this is";
  EXPECT_EQ(read(written("set")), (std::vector<std::string>{"0: a", "1: b"}));
  const SourceImages found = list_source(folder_ / "set", Labels::by_source);
  EXPECT_EQ(lines_of(found.skipped), (std::vector<std::string>{"not an image README"}));
  EXPECT_EQ(found.found, 3u);
  EXPECT_EQ(form_of_source(folder_ / "set", Labels::by_source), "a folder of RecordIO files");
}

TEST_F(RecordSources, WithFoldersAreFoldersOfClasses) {
  put(folder_ / "set/n1/a.jpg", kJpeg);
  add("set/b.rec", 1, "b");
  EXPECT_EQ(form_of_source(written("set"), Labels::by_source), "a folder a class");
}

// A source must not become another one when its shards are packed into it.
TEST_F(RecordSources, WithImagesBesideAreFoldersOfImages) {
  put(folder_ / "set/a.jpg", kJpeg);
  add("set/b.rec", 1, "b");
  EXPECT_EQ(images_of(list_source(written("set"), Labels::elsewhere)), (std::vector<std::string>{"a.jpg"}));
}

TEST_F(RecordSources, CanLeaveTheClassesToSomethingElse) {
  add("v.rec", 3, "a");
  add("v.rec", 1, "b");
  const SourceImages found = list_source(written("v.rec"), Labels::elsewhere);
  EXPECT_TRUE(found.classes.empty());
  EXPECT_EQ(images_of(found), (std::vector<std::string>{"v.rec/0", "v.rec/1"}));
}

TEST_F(RecordSources, OfIm2recMayHaveOneLabelBehindTheHeader) {
  Bytes record = foreign_record({5}, "five");
  const uint32_t flag = 1;
  const float label = 6;
  std::memcpy(record.data() + kPartHeaderBytes, &flag, sizeof flag);
  std::memcpy(record.data() + kPartHeaderBytes + kRecordHeaderBytes, &label, sizeof label);
  add("a.rec", record);
  EXPECT_EQ(read(written("a.rec")), (std::vector<std::string>{"6: "}));
}

TEST_F(RecordSources, OfSeveralLabelsAreRefusedWhenTheyAreListed) {
  add("a.rec", 0, "a");
  add("a.rec", foreign_record({1, 2}, "b"));
  const std::string message = error_of(written("a.rec"));
  EXPECT_NE(message.find("2 labels"), std::string::npos) << message;
  EXPECT_NE(message.find("a.rec at byte 36"), std::string::npos) << message;
}

TEST_F(RecordSources, ThatAreCutShortOrNoRecordsAreDamaged) {
  add("a.rec", 0, "an image");
  add("a.rec", 1, "another");
  const std::string whole = content_["a.rec"];
  for (size_t bytes = whole.size() / 2 + 1; bytes < whole.size(); ++bytes) {
    content_["a.rec"] = whole.substr(0, bytes);
    const std::string message = error_of(written("a.rec"));
    EXPECT_NE(message.find("at byte 40"), std::string::npos) << bytes << message;
  }
  content_["a.rec"] = "some text\n";
  EXPECT_NE(error_of(written("a.rec")).find("no record begins where one should"), std::string::npos);
  content_["a.rec"] = "";
  EXPECT_NE(error_of(written("a.rec")).find("no images were found"), std::string::npos);
}

}  // namespace
}  // namespace packhorse::test
