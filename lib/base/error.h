// Errors that help: each says what is wrong, where, and what to try.
//
// Rule: everything that can fail throws an Error (or a subtype). Only a stage's main turns it into a message and an
// exit code; no code in between prints an error and continues.
#pragma once

#include <stdexcept>
#include <string>

namespace packhorse {

/// Exit codes of every stage. `kExitBusy` is EX_UNAVAILABLE: another stage is at work in the folder. `kExitAgain` is
/// EX_TEMPFAIL: the stage stopped on request with a checkpoint; run the same command again.
enum ExitCode : int { kExitOk = 0, kExitFailure = 1, kExitUsage = 2, kExitBusy = 69, kExitAgain = 75 };

/// The three parts of a message; `where` and `hint` may be empty.
struct ErrorText {
  std::string what;   ///< what is wrong: a clause without a full stop
  std::string where;  ///< the place to look at: a path, a record, a setting
  std::string hint;   ///< what to do, as an imperative; the message puts "try: " before it
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

/// The command line, a settings file or a description is wrong; nothing was started.
class UsageError : public Error {
 public:
  explicit UsageError(ErrorText text) : Error(std::move(text), kExitUsage) {}
};

/// The bytes of a file do not have the required form or checksum.
class DamageError : public Error {
 public:
  explicit DamageError(ErrorText text) : Error(std::move(text)) {}
};

/// The machine cannot do what it is asked for: no more open files, no memory, a disk that cannot be read. Never the
/// fault of the one image or file that was asked for; who goes on without a broken image lets this pass.
class SystemError : public Error {
 public:
  explicit SystemError(ErrorText text) : Error(std::move(text)) {}
};

/// Throws an Error for the current `errno`, with a hint for the common causes (no space, no permission, no such file);
/// a SystemError for those of the machine.
[[noreturn]] void throw_errno(const std::string& what, const std::string& where);

}  // namespace packhorse
