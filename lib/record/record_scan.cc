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
    // The labels are at the front, and read with the framing.
    std::array<std::byte, kPartHeaderBytes + kRecordHeaderBytes + sizeof(float)> room{};
    const uint64_t left = file.bytes() - at;
    const auto front = std::span(room).first(std::min<uint64_t>(room.size(), left));
    file.read_at(at, front);
    PartFrame part = parse_part(front, left, where);
    place.bytes = part.bytes_on_disk;
    if (!part.continues) {
      place.label = label_at(front.first(std::min(front.size(), part.bytes_on_disk)).subspan(kPartHeaderBytes), where);
    } else {  // its bytes contain the magic: even its header may, and be in several parts
      while (part.continues) {
        const uint64_t from = at + place.bytes, rest = file.bytes() - from;
        const auto framing = std::span(room).first(std::min<uint64_t>(kPartHeaderBytes, rest));
        file.read_at(from, framing);
        part = parse_part(framing, rest, where);
        place.bytes += part.bytes_on_disk;
      }
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
