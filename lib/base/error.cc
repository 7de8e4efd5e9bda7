#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace packhorse {
namespace {

std::string compose(const ErrorText& text) {
  std::string message = text.what;
  if (!text.where.empty()) message += ": " + text.where;
  if (!text.hint.empty()) message += "\n  try: " + text.hint;
  return message;
}

std::string hint_for(int code, const std::string& where) {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return "free some space, or choose another folder with --out (no half-written file is left)";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check the permissions, or choose another folder";
    case ENOENT:
      return where.starts_with('/') ? "check the path"
                                    : "check the path (a relative path starts at the folder in which the command runs)";
    case ENOTDIR:
    case EISDIR:
      return "check the path: a folder is where a file should be, or a file where a folder should be";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    default:
      return "";
  }
}

}  // namespace

Error::Error(ErrorText text, int exit_code)
    : std::runtime_error(compose(text)), text_(std::move(text)), exit_code_(exit_code) {}

void throw_errno(const std::string& what, const std::string& where) {
  const int code = errno;
  if (code == EMFILE || code == ENFILE || code == ENOMEM || code == EIO)
    throw SystemError({what + " (" + std::strerror(code) + ")", where, hint_for(code, where)});
  throw Error({what + " (" + std::strerror(code) + ")", where, hint_for(code, where)});
}

}  // namespace packhorse
