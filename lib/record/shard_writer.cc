#include "record/shard_writer.h"

#include <string>

#include "record/recordio.h"

namespace packhorse {

ShardWriter::ShardWriter(const std::filesystem::path& rec, const std::filesystem::path& idx) : rec_(rec), idx_(idx) {}

void ShardWriter::append(uint64_t id, uint32_t label, std::span<const std::byte> image) {
  record_.clear();
  append_record(id, label, image, record_);
  append_made(id, record_);
}

void ShardWriter::append_made(uint64_t id, std::span<const std::byte> record) {
  idx_.write(std::to_string(id) + "\t" + std::to_string(rec_.bytes()) + "\n");
  rec_.write(record);
  ++records_;
}

void ShardWriter::commit() {
  rec_.commit();
  idx_.commit();
}

}  // namespace packhorse
