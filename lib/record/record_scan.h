// Which records a file holds, found from front to back without an index and without the images' bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/files.h"

namespace packhorse {

/// A record's place in its file, with framing and padding.
struct RecordPlace {
  uint64_t offset = 0, bytes = 0;
  uint32_t label = 0;
};

/// All records of a file in order. Throws a DamageError where no whole record begins, and an Error for a record of
/// several labels. A checksum is only looked at when the record is read.
std::vector<RecordPlace> scan_records(const InputFile& file);

}  // namespace packhorse
