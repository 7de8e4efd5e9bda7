#include "record/shard_reader.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/error.h"

namespace packhorse {
namespace {

/// Most bytes that a record can take on disk: the longest record, with the magic as every second word.
constexpr uint64_t kMaxSpan = 3 * uint64_t{kMaxRecordBytes};

bool parse_number(std::string_view text, uint64_t& number) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc() && end == text.data() + text.size();
}

/// visit(key, offset) for each line `key TAB offset`; the key is text that only we and MXNet make numbers.
template <typename Visit>
void each_line(const std::filesystem::path& idx, const Visit& visit) {
  const std::string text = read_text(idx);
  std::string_view rest = text;
  for (size_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    uint64_t offset = 0;
    const size_t tab = line.find('\t');
    if (tab == std::string_view::npos || tab == 0 || !parse_number(line.substr(tab + 1), offset)) {
      throw DamageError({"line " + std::to_string(number) + " is not 'key TAB offset'", idx.string(),
                         "copy the index again, or pack again"});
    }
    visit(line.substr(0, tab), offset);
  }
}

/// A shard has no gaps between records, so ascending offsets from 0 cover every byte of it.
void check_offsets(std::span<const uint64_t> offsets, const InputFile& rec, const std::filesystem::path& idx) {
  const auto refuse = [&](const std::string& what) {
    throw DamageError({"the index does not fit its shard: " + what, idx.string(),
                       "copy the shard and its index again, or pack again"});
  };
  if (offsets.empty()) {
    if (rec.bytes() != 0) refuse("it is empty and the shard is not");
    return;
  }
  if (offsets.front() != 0) refuse("the first record does not begin at byte 0");
  for (size_t i = 0; i < offsets.size(); ++i) {
    const uint64_t end = i + 1 < offsets.size() ? offsets[i + 1] : rec.bytes();
    if (end <= offsets[i]) refuse("record " + std::to_string(i) + " ends at byte " + std::to_string(end));
    if (offsets[i] % 4 != 0) refuse("record " + std::to_string(i) + " does not begin at a multiple of four bytes");
    if (end - offsets[i] > kMaxSpan) refuse("record " + std::to_string(i) + " is longer than a record can be");
  }
  if (offsets.back() >= rec.bytes()) refuse("it points beyond the shard's end");
}

}  // namespace

ShardReader::ShardReader(const std::vector<ShardPath>& shards) {
  first_.push_back(0);
  for (const ShardPath& shard : shards) {
    files_.emplace_back(shard.rec);
    each_line(shard.idx, [&](std::string_view, uint64_t offset) { offsets_.push_back(offset); });
    auto own = std::span(offsets_).subspan(first_.back());
    std::sort(own.begin(), own.end());  // MXNet's tools may list records in the order their workers finished
    check_offsets(own, files_.back(), shard.idx);
    first_.push_back(offsets_.size());
  }
  offsets_.shrink_to_fit();
}

std::vector<uint64_t> index_keys(const std::filesystem::path& idx) {
  std::vector<std::pair<uint64_t, uint64_t>> lines;  // offset, key
  each_line(idx, [&](std::string_view key, uint64_t offset) {
    uint64_t number = 0;
    if (!parse_number(key, number))
      throw DamageError({"the key '" + std::string(key) + "' is no number", idx.string(), "pack again"});
    lines.emplace_back(offset, number);
  });
  std::sort(lines.begin(), lines.end());
  std::vector<uint64_t> keys;
  keys.reserve(lines.size());
  for (const auto& [offset, key] : lines) keys.push_back(key);
  return keys;
}

size_t ShardReader::shard_of(uint64_t index) const {
  return static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), index) - first_.begin()) - 1;
}

uint64_t ShardReader::end_of(size_t shard, uint64_t index) const {
  return index + 1 < first_[shard + 1] ? offsets_[index + 1] : files_[shard].bytes();
}

Record ShardReader::read(uint64_t index, std::vector<std::byte>& buffer) const {
  if (index >= records()) {
    throw Error({"there is no record " + std::to_string(index) + ", only " + std::to_string(records()), "", ""});
  }
  const size_t shard = shard_of(index);
  const uint64_t bytes = end_of(shard, index) - offsets_[index];
  if (buffer.size() < bytes) buffer.resize(bytes);
  const auto span = std::span(buffer).first(bytes);
  files_[shard].read_at(offsets_[index], span);
  return parse_record(span, name_of(index));
}

void ShardReader::will_need(uint64_t first, uint64_t count) const {
  const uint64_t last = std::min(first + count, records());
  while (first < last) {
    const size_t shard = shard_of(first);
    const uint64_t stop = std::min(last, first_[shard + 1]);
    files_[shard].will_need(offsets_[first], end_of(shard, stop - 1) - offsets_[first]);
    first = stop;
  }
}

std::string ShardReader::name_of(uint64_t index) const {
  const size_t shard = shard_of(index);
  return files_[shard].path().filename().string() + " record " + std::to_string(index - first_[shard]);
}

uint64_t ShardReader::index_bytes() const {
  return offsets_.capacity() * sizeof(uint64_t) + first_.capacity() * sizeof(uint64_t);
}

}  // namespace packhorse
