// The schemas of a checkpoint, and what the older ones call by another name.
//
// Rule: every schema in the list is read, and the last one is written. A training takes weeks, so a new version must
// be able to continue what an older one began. Only this file and its .cc know what differs; readers ask here.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "base/json.h"

namespace packhorse {

/// Oldest first; the number of each is its place in the list, from 1.
inline constexpr std::array kCheckpointSchemas = {"packhorse/checkpoint/1", "packhorse/checkpoint/2",
                                                  "packhorse/checkpoint/3"};
inline constexpr const char* kCheckpointSchema = kCheckpointSchemas.back();

/// The number of a schema that is read. Throws as check_schema() does if `found` is none of them.
size_t checkpoint_schema_number(const std::string& found, const std::string& where);

/// The group of an array of the state, without a slash at its end: "state/weights", before schema 3 "parameters".
std::string state_group(size_t schema, const std::string& array);

/// Whether the file has one counter, `step`, for both of today's: no update was ever skipped.
bool has_one_counter(size_t schema);
bool has_choices(size_t schema);

/// How images were resampled (CheckpointInfo::resampling) when checkpoints did not state it yet. If a crop had at least
/// twice the size needed, its JPEG was first reduced by halves in the DCT, down to that size if possible.
inline constexpr const char* kResamplingBefore = "dct-triangle/1";

/// A training's settings under the names and with the values that they have today.
Json todays_settings(size_t schema, Json settings);

}  // namespace packhorse
