#include "fuzz/targets.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/settings_file.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "classes/class_table.h"
#include "demo/tar_writer.h"
#include "image/decode.h"
#include "image/jpeg.h"
#include "image/jpeg_samples.h"
#include "image/png_samples.h"
#include "image/webp_samples.h"
#include "manifest/description.h"
#include "manifest/image_list.h"
#include "manifest/stage_manifest.h"
#include "metrics/journal.h"
#include "metrics/top_k.h"
#include "record/recordio.h"
#include "record/shard_reader.h"
#include "report/columns.h"
#include "results/evaluation.h"
#include "source/tar_reader.h"
#include "support/packed.h"
#include "support/temp_dir.h"

namespace packhorse::fuzz {
namespace {

namespace fs = std::filesystem;

Bytes bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// A folder that lives as long as the process: one file in it is written anew for each input.
const fs::path& folder() {
  static const test::TempDir folder;
  return folder.path();
}
fs::path written(const std::string& name, std::span<const std::byte> bytes) {
  fs::path path = folder() / name;
  unlink(path.c_str());  // some file systems wait for the disk where a file is cut and written again
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
  return path;
}

/// A packed data set, made once: its files are seeds.
const fs::path& packed() {
  static const test::TempDir folder;
  static const fs::path manifest = test::write_packed(
      folder.path(), {.shards = 1, .records = 6, .width = 16, .height = 16}, {.shards = 1, .records = 2});
  return manifest;
}
Bytes file_of_pack(const std::string& role) {
  return bytes_of(read_text(StageManifest::load(packed()).outputs_of(role).at(0).path));
}

void read_image(std::span<const std::byte> bytes) {
  DecodedImage image;
  const Size size = read_image_size(bytes);
  if (int64_t{size.width} * size.height > 1 << 22) return;  // sound, and too large for thousands of runs
  decode_image(bytes, image);
  if (image.pixels.size() != size_t{3} * static_cast<size_t>(image.width) * static_cast<size_t>(image.height))
    throw std::logic_error("an image without all of its pixels");
}

std::vector<Bytes> jpeg_seeds() {
  return {make_jpeg({.width = 33, .height = 20}), make_jpeg({.width = 40, .height = 17, .progressive = true}),
          make_jpeg({.width = 16, .height = 16, .kind = JpegKind::cmyk})};
}
std::vector<Bytes> png_seeds() {
  std::vector<unsigned> samples(std::size_t{3} * 9 * 7);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<unsigned>(i % 251);
  return {
      make_png({.width = 9, .height = 7, .samples = samples}),
      make_png({.width = 9, .height = 7, .samples = samples, .interlaced = true}),
      make_png(
          {.width = 4, .height = 2, .depth = 16, .colour = PNG_COLOR_TYPE_GRAY, .samples = {1, 2, 3, 4, 5, 6, 7, 8}})};
}
std::vector<Bytes> webp_seeds() {
  std::vector<uint8_t> samples(size_t{4} * 11 * 6);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<uint8_t>(i * 13);
  return {make_webp(11, 6, 4, samples), make_webp(11, 6, 4, samples, 70)};
}

std::vector<Bytes> tar_seeds() {
  const fs::path path = folder() / "seed.tar";
  {
    TarWriter tar(path);
    tar.add("class-a/one.jpg", make_jpeg({.width = 8, .height = 8}));
    tar.add(std::string(120, 'n') + "/two.jpg", make_jpeg({.width = 8, .height = 8}));
    tar.finish();
  }
  return {bytes_of(read_text(path))};
}

Evaluation small_evaluation() {
  Evaluation evaluation;
  evaluation.listed = 2;
  evaluation.class_ids = {"a", "b"};
  evaluation.class_names = {"", "bee"};
  AccuracyCounters counters{ClassSet(2)};
  counters.add(std::vector<float>{2, 1}, 0);
  counters.add(std::vector<float>{2, 1}, 1);
  evaluation.scopes.push_back(summarise(counters, 10));
  evaluation.scopes[0].name = "all";
  evaluation.scopes[0].title = "all 2 classes";
  return evaluation;
}

std::vector<Target> make_targets() {
  std::vector<Target> all = {
      {"record",
       [](std::span<const std::byte> bytes) {
         Bytes copy(bytes.begin(), bytes.end());
         parse_record(copy, "a record");
       },
       [] {
         Bytes record;
         append_record(7, 3, make_jpeg({.width = 8, .height = 8}), record);
         return std::vector<Bytes>{record};
       }},
      {"shard",
       [](std::span<const std::byte> bytes) {
         const fs::path rec = written("a.rec", bytes), idx = written("a.idx", file_of_pack("train-index"));
         const ShardReader reader({{rec, idx}});
         Bytes buffer;
         for (uint64_t i = 0; i < reader.records(); ++i) reader.read(i, buffer);
       },
       [] { return std::vector<Bytes>{file_of_pack("train-shard")}; }},
      {"index",
       [](std::span<const std::byte> bytes) {
         const fs::path rec = written("a.rec", file_of_pack("train-shard")), idx = written("a.idx", bytes);
         const ShardReader reader({{rec, idx}});
         index_keys(idx);
         Bytes buffer;
         for (uint64_t i = 0; i < reader.records(); ++i) reader.read(i, buffer);
       },
       [] { return std::vector<Bytes>{file_of_pack("train-index")}; }},
      {"list", [](std::span<const std::byte> bytes) { read_image_list(written("a.tsv", bytes)); },
       [] {
         ImageEntry image;
         image.id = 12;
         image.label = 1;
         image.path = "class/one image.jpg";
         const fs::path path = folder() / "seed.tsv";
         write_image_list(path, {image, image});
         return std::vector<Bytes>{bytes_of(read_text(path))};
       }},
      {"classes", [](std::span<const std::byte> bytes) { ClassTable::load(written("classes.tsv", bytes)); },
       [] { return std::vector<Bytes>{file_of_pack("class-table")}; }},
      {"description",
       [](std::span<const std::byte> bytes) {
         const fs::path path = written("description.json", bytes);
         check_description(read_json(path), path.string());
       },
       [] {
         std::vector<Bytes> seeds;
         for (const char* name : {"demo", "ilsvrc2012", "imagenet-21k"})
           seeds.push_back(
               bytes_of(read_text(fs::path(PACKHORSE_ROOT) / "data_manifests" / (std::string(name) + ".json"))));
         return seeds;
       }},
      {"manifest", [](std::span<const std::byte> bytes) { StageManifest::load(written("manifest.json", bytes)); },
       [] { return std::vector<Bytes>{bytes_of(read_text(packed()))}; }},
      {"journal",
       [](std::span<const std::byte> bytes) { journal_tables(read_journal(written("metrics.jsonl", bytes))); },
       [] {
         return std::vector<Bytes>{bytes_of(
             "{\"kind\":\"run\",\"schema\":\"packhorse/journal/1\",\"time\":1.5,\"step\":0,\"ranks\":1}\n"
             "{\"kind\":\"step\",\"time\":2.5,\"step\":1,\"epoch\":0.5,\"loss\":2.25,\"top1\":0.125}\n"
             "{\"kind\":\"epoch\",\"time\":3.5,\"step\":2,\"epoch\":1.0,\"loss\":2.0,\"top1\":0.25,\"images\":64}\n"
             "{\"kind\":\"validation\",\"time\":4.5,\"step\":2,\"top1\":0.5,\"loss\":null}\n")};
       }},
      {"hdf5",
       [](std::span<const std::byte> bytes) {
         const fs::path path = written("a.h5", bytes);
         try {
           read_evaluation(path);
         } catch (const Error&) {
           read_checkpoint_info(path);
         }
       },
       [] {
         const fs::path path = folder() / "seed.h5";
         write_evaluation(path, small_evaluation());
         return std::vector<Bytes>{bytes_of(read_text(path))};
       }},
      {"tar",
       [](std::span<const std::byte> bytes) {
         const InputFile file(written("a.tar", bytes));
         read_tar(file, 0, file.bytes(), "a.tar");
       },
       tar_seeds},
      {"jpeg",
       [](std::span<const std::byte> bytes) {
         read_image(bytes);
         check_jpeg(bytes);
       },
       jpeg_seeds},
      {"png", read_image, png_seeds},
      {"webp", read_image, webp_seeds},
  };
  if (kReadsSettingsFiles)
    all.push_back({"settings",
                   [](std::span<const std::byte> bytes) {
                     read_settings_file(written("settings.toml", bytes).string(), "train", {"list", "pack", "train"});
                   },
                   [] {
                     return std::vector<Bytes>{
                         bytes_of("[pack]\nshards = 4\n[train]\nlr = 0.1\nmean = [\"1\", \"2\", \"3\"]\n"),
                         bytes_of("lr = 0.1\nmilestones = [30, 60]\nrecompute = true\n")};
                   }});
  return all;
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all = make_targets();
  return all;
}

const Target& target_named(const std::string& name) {
  std::vector<std::string> names;
  for (const Target& target : targets()) {
    if (target.name == name) return target;
    names.push_back(target.name);
  }
  throw UsageError({"there is no target '" + name + "'", "", "use one of: " + joined(names)});
}

void run(const Target& target, std::span<const std::byte> bytes) {
  try {
    target.read(bytes);
  } catch (const SystemError&) {
    throw;
  } catch (const Error&) {
    return;
  }
}

}  // namespace packhorse::fuzz
