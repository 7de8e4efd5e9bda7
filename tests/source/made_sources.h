// Sources made of texts, for the tests of this folder. What is in a file decides nothing if its name does.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "demo/tar_writer.h"
#include "source/source.h"

namespace packhorse::test {

/// As an image begins, for files whose names do not say that they are images.
inline constexpr const char* kJpeg = "\xff\xd8\xff\xe0 and so on";

using Members = std::vector<std::pair<std::string, std::string>>;  // name, content

inline void put(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string tar_text(const Members& members) {
  std::vector<std::byte> bytes;
  TarWriter tar(bytes);
  for (const auto& [name, content] : members) tar.add(name, std::as_bytes(std::span(content)));
  tar.finish();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// "reason path" of everything skipped, in order.
inline std::vector<std::string> lines_of(const Skipped& skipped) {
  std::vector<std::string> lines;
  for (const SkippedEntry& entry : skipped) lines.push_back(std::string(word_of(entry.reason)) + " " + entry.path);
  return lines;
}

/// "class name" of all images, in order.
inline std::vector<std::string> images_of(const SourceImages& found) {
  std::vector<std::string> lines;
  lines.reserve(found.images.size());
  for (const ImageEntry& image : found.images) {
    lines.push_back((found.classes.empty() ? "" : found.classes[image.label] + " ") + image.name());
  }
  return lines;
}

inline std::string error_of(const std::filesystem::path& source, Labels labels = Labels::by_source) {
  try {
    list_source(source, labels);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

inline void expect_error(const std::filesystem::path& source, const std::string& words,
                         Labels labels = Labels::by_source) {
  const std::string message = error_of(source, labels);
  EXPECT_NE(message.find(words), std::string::npos) << message;
}

}  // namespace packhorse::test
