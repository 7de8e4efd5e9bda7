// Which entries of a folder or a tar are images: one rule for every form of source, and for predict.
//
// The name decides if it can: .jpg .jpeg .jpe .jfif .png .gif .webp .bmp .tif .tiff, in any case, are images (packing
// and predicting refuse by name those formats that they cannot read); hidden files and tars are not. For any other
// name, and for one without an extension, the first bytes decide: those of JPEG, PNG, GIF, WebP, BMP and TIFF are
// images'. What a user names himself, in a listing or on a command line, is taken whatever its name is.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/skipped.h"

namespace packhorse {

inline constexpr size_t kHeadBytes = 256;  ///< as many of the first bytes as decide

/// Reads the first bytes of an entry, at most kHeadBytes; nothing if they cannot be read.
using ReadHead = std::function<std::optional<std::vector<std::byte>>()>;

/// ".jpg", in lower case; empty if the name has no extension.
std::string extension_of(std::string_view name);

/// True if a part of the name begins with a point, or a folder in it is __MACOSX. `name` counts from the source.
bool is_hidden(std::string_view name);

bool is_tar_name(std::string_view name);

/// Whether the extension alone says that it is an image.
bool has_image_extension(std::string_view name);

/// Nothing if the entry is an image, else why it is none. `read_head` is called only if the name does not decide.
std::optional<SkipReason> why_not_image(std::string_view name, const ReadHead& read_head);

}  // namespace packhorse
