#include "record/record_scan.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "record/recordio.h"

namespace packhorse {

std::vector<RecordPlace> scan_records(const InputFile& file) {
  std::vector<RecordPlace> places;
  std::vector<std::byte> whole;
  for (uint64_t at = 0; at < file.bytes();) {
    const std::string where = file.path().string() + " at byte " + std::to_string(at);
    RecordPlace place{at, 0, 0};
    size_t parts = 0;
    for (bool more = true; more; ++parts) {
      std::array<std::byte, kPartHeaderBytes> header{};
      const uint64_t from = at + place.bytes, left = file.bytes() - from;
      const auto read = std::span(header).first(std::min<uint64_t>(header.size(), left));
      file.read_at(from, read);
      const PartFrame part = parse_part(read, left, where);
      place.bytes += part.bytes_on_disk;
      more = part.continues;
    }
    // The labels are at the front. A record is in parts if its bytes contain the magic: even its header may be.
    std::array<std::byte, kPartHeaderBytes + kRecordHeaderBytes + sizeof(float)> front{};
    if (parts == 1) {
      const auto read = std::span(front).first(std::min<uint64_t>(front.size(), place.bytes));
      file.read_at(at, read);
      place.label = label_at(read.subspan(kPartHeaderBytes), where);
    } else {
      whole.resize(place.bytes);
      file.read_at(at, whole);
      place.label = parse_record(whole, where).label;
    }
    places.push_back(place);
    at += place.bytes;
  }
  return places;
}

}  // namespace packhorse
