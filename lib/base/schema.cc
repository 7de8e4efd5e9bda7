#include "base/schema.h"

#include <algorithm>

#include "base/error.h"
#include "base/version.h"

namespace packhorse {
namespace {

/// The number of a schema of this format; 0 if it is of another one.
unsigned long number_of(const std::string& schema, const std::string& format) {
  if (!schema.starts_with(format)) return 0;
  const std::string digits = schema.substr(format.size());
  constexpr size_t kMaxDigits = 9;
  const bool whole = !digits.empty() && digits.size() <= kMaxDigits &&
                     std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
  return whole ? std::stoul(digits) : 0;
}

}  // namespace

void check_schema(const std::string& found, const std::string& wanted, const std::string& what,
                  const std::string& where, const std::string& hint) {
  if (found == wanted) return;
  const std::string format = wanted.substr(0, wanted.rfind('/') + 1);
  const unsigned long number = number_of(found, format);
  if (number == 0) {
    throw DamageError({"not " + what + ": its schema is '" + found + "', not " + wanted, where, hint});
  }
  const std::string age = number < number_of(wanted, format) ? "an older" : "a newer";
  throw Error(
      {what + " of " + age + " Packhorse: its schema is " + found + ", and version " + kVersion + " reads " + wanted,
       where, hint + ", or use the version of Packhorse that wrote it (CHANGELOG.md lists their schemas)"});
}

}  // namespace packhorse
