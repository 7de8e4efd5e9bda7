// Finds the members of a tar, so that they can be read in place: nothing is unpacked.
//
// Rule: a tar must be complete (every member inside the file, and the end mark), or it is an error. Only plain tars: in
// a compressed tar, members have no position of their own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/files.h"

namespace packhorse {

struct TarMember {
  std::string
      name;  ///< relative and without "." and "..", as tools unpack it: "n1/x.jpg" for "./n1/x.jpg", "/n1/x.jpg"
  uint64_t offset = 0;  ///< of its first byte in the file
  uint64_t bytes = 0;
};

struct TarContents {
  std::vector<TarMember> members;    ///< the regular files, in the tar's order
  std::vector<std::string> links;    ///< names of links; folders are left out
  std::vector<std::string> special;  ///< names of devices and so on
};

/// Reads the headers of the tar that fills [offset, offset + bytes) of `file`: a whole file, or a tar inside a tar.
/// `where` names it in errors.
TarContents read_tar(const InputFile& file, uint64_t offset, uint64_t bytes, const std::string& where);

/// The compression that the first bytes show ("gzip", "zip", ...), or an empty string.
std::string compression_of(std::span<const std::byte> bytes);

}  // namespace packhorse
