// The schema that a file states: "packhorse/stage/2" is format "packhorse/stage", number 2.
//
// Rule: a file of another schema is refused by its name and number, with what to do; it is never misread. A number
// grows whenever a reader of the old one would misread the new one. (The whole rule: data_manifests/README.md.)
#pragma once

#include <string>

namespace packhorse {

/// Throws unless `found` is `wanted`: an Error if the number is older or newer, a DamageError if it is another format
/// or no schema at all. `what` names the kind of file ("a stage's manifest"), `hint` says how to make a new one.
void check_schema(const std::string& found, const std::string& wanted, const std::string& what,
                  const std::string& where, const std::string& hint);

}  // namespace packhorse
