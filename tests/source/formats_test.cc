// A new source format needs one SourceFormat and one row: here for a file with no images, only the number of them to
// make.
#include "source/formats.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "source/image_reader.h"
#include "support/temp_dir.h"

namespace packhorse {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

constexpr const char* kHead = "made-up images: ";

/// Image i of the file is the text "i of CLASS"; `offset` is what the format needs to find it.
class MadeUpImages : public ImageBytes {
 public:
  void read(const ImageEntry& entry, std::vector<std::byte>& dst) const override {
    const std::string text = std::to_string(entry.offset) + " of " + entry.member;
    const auto bytes = std::as_bytes(std::span(text));
    dst.assign(bytes.begin(), bytes.end());
  }
};

SourceImages list_made_up(const fs::path& source, Labels /*labels*/) {
  SourceImages result;
  result.classes = {"even", "odd"};
  const int count = std::stoi(read_text(source).substr(std::string(kHead).size()));
  for (int i = 0; i < count; ++i) {
    ImageEntry image;
    image.label = static_cast<uint32_t>(i % 2);
    image.path = source.filename().string();
    image.member = result.classes[image.label] + "/" + std::to_string(i);
    image.offset = static_cast<uint64_t>(i);
    image.bytes = 1;
    result.images.push_back(image);
  }
  result.found = result.images.size();
  return result;
}

const SourceFormat kMadeUpFormat = {
    .recognise =
        [](const SourceLook& look) {
          const std::string_view head(reinterpret_cast<const char*>(look.head.data()), look.head.size());
          return head.starts_with(kHead);
        },
    .describe = [](const SourceLook&, Labels) -> std::string { return "made-up images"; },
    .list = list_made_up,
    .open = [](const fs::path&) -> std::unique_ptr<ImageBytes> { return std::make_unique<MadeUpImages>(); }};

TEST(SourceFormats, ANewRowIsListedAndRead) {
  const TempDir folder;
  write_text(folder / "five.made", std::string(kHead) + "5\n");
  std::vector<const SourceFormat*> formats{&kMadeUpFormat};
  formats.insert(formats.end(), source_formats().begin(), source_formats().end());
  EXPECT_EQ(form_of_source(folder / "five.made", Labels::by_source, formats), "made-up images");
  const SourceImages found = list_source(folder / "five.made", Labels::by_source, formats);
  ASSERT_EQ(found.images.size(), 5u);
  const ImageReader reader(folder / "five.made", formats);
  std::vector<std::string> contents;
  for (const ImageEntry& image : found.images) {
    std::vector<std::byte> bytes;
    reader.read(image, bytes);
    contents.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  EXPECT_EQ(contents,
            (std::vector<std::string>{"0 of even/0", "2 of even/2", "4 of even/4", "1 of odd/1", "3 of odd/3"}));
}

TEST(SourceFormats, AFormatThatLosesAnEntryIsAnError) {
  const TempDir folder;
  write_text(folder / "five.made", std::string(kHead) + "5\n");
  SourceFormat loses = kMadeUpFormat;
  loses.list = [](const fs::path& source, Labels labels) {
    SourceImages result = list_made_up(source, labels);
    result.images.pop_back();
    return result;
  };
  const std::vector<const SourceFormat*> formats{&loses};
  try {
    list_source(folder / "five.made", Labels::by_source, formats);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.text().what, "5 entries were found, but 4 listed and 0 skipped");
  }
}

TEST(SourceFormats, TheOrderOfTheTableDecides) {
  const TempDir folder;
  write_text(folder / "five.made", std::string(kHead) + "5\n");
  std::vector<const SourceFormat*> formats(source_formats().begin(), source_formats().end());
  formats.push_back(&kMadeUpFormat);
  EXPECT_EQ(form_of_source(folder / "five.made", Labels::by_source, formats), "a listing")
      << "any text file is a listing";
  EXPECT_EQ(form_of_source(folder / "five.made", Labels::by_source), "a listing");
}

TEST(SourceFormats, AnUnrecognisedSourceIsAnError) {
  const TempDir folder;
  write_text(folder / "five.made", std::string(kHead) + "5\n");
  const std::vector<const SourceFormat*> none;
  EXPECT_THROW(list_source(folder / "five.made", Labels::by_source, none), Error);
  EXPECT_THROW(ImageReader(folder / "five.made", none), Error);
}

}  // namespace
}  // namespace packhorse
