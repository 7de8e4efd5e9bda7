// CRC32C (Castagnoli, reflected polynomial 0x82F63B78, as in RFC 3720 B.4): the one checksum of this project.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace packhorse {

/// Extends `crc` (0 at the beginning) over `bytes`; crc32c(b, crc32c(a)) equals the checksum of a followed by b.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t crc = 0);

/// The checksum as manifests write it: eight lower-case hexadecimal digits.
std::string crc32c_text(uint32_t crc);

}  // namespace packhorse
