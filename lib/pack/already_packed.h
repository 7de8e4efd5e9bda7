// Whether packing again would only make what is there.
#pragma once

#include <optional>
#include <vector>

#include "manifest/stage.h"
#include "pack/packed_list.h"

namespace packhorse {

/// The finished result in the stage's folder, if it has the same settings and lists, its files are there, and no file
/// of the sources has changed since that packing began. Only sizes and times are looked at; `verify` reads everything.
std::optional<StageManifest> already_packed(const Stage& stage, const std::vector<PackedList>& lists);

}  // namespace packhorse
