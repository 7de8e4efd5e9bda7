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

std::string hint_for(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return "free some space, or choose another folder with --out; nothing half-written was kept";
    case EACCES:
    case EPERM:
    case EROFS:
      return "check who may read and write there, or choose another folder";
    case ENOENT:
      return "check the path; relative paths are taken from the folder the command runs in";
    case ENOTDIR:
    case EISDIR:
      return "a folder stands where a file was expected, or the reverse";
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
  throw Error({what + " (" + std::strerror(code) + ")", where, hint_for(code)});
}

}  // namespace packhorse
