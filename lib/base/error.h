// Errors that help: each says what went wrong, where, and what to try.
//
// Rule of the room: everything that can fail throws an Error (or a subtype); only a stage's main turns one into a
// message and an exit code. Nothing is printed and swallowed on the way.
#pragma once

#include <stdexcept>
#include <string>

namespace packhorse {

/// Exit codes of every stage. `kAgain` is EX_TEMPFAIL: stopped on request with a checkpoint, run the same command
/// again.
enum ExitCode : int { kExitOk = 0, kExitFailure = 1, kExitUsage = 2, kExitAgain = 75 };

/// The three parts of a message; `where` and `hint` may be empty.
struct ErrorText {
  std::string what;   ///< what is wrong, a clause without a full stop
  std::string where;  ///< a path, a record, a setting: the place to look at
  std::string hint;   ///< what to try
};

class Error : public std::runtime_error {
 public:
  explicit Error(ErrorText text, int exit_code = kExitFailure);
  const ErrorText& text() const { return text_; }
  int exit_code() const { return exit_code_; }

 private:
  ErrorText text_;
  int exit_code_;
};

/// The command line, a settings file or a description is wrong: nothing was started.
class UsageError : public Error {
 public:
  explicit UsageError(ErrorText text) : Error(std::move(text), kExitUsage) {}
};

/// Bytes that do not have the form or the checksum they must have.
class DamageError : public Error {
 public:
  explicit DamageError(ErrorText text) : Error(std::move(text)) {}
};

/// Throws an Error for the current `errno`, with a hint for the common causes (no space, no permission, no such file).
[[noreturn]] void throw_errno(const std::string& what, const std::string& where);

}  // namespace packhorse
