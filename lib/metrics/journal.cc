#include "metrics/journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/schema.h"

namespace packhorse {
namespace {

/// Text that is not UTF-8 (for example a file name) must not stop training: its bytes are replaced.
std::string one_line(const Json& line) { return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

DamageError damage(size_t number, const std::string& why, const std::filesystem::path& path) {
  return DamageError({"line " + std::to_string(number) + " of the journal " + why, path.string(),
                      "remove the line with an editor, or start the run again from an older copy of the journal"});
}

/// What is wrong with a line, or nothing: figures are numbers (null is one that is not finite), a step is one from 0
/// on.
std::string fault_of(const Json& line) {
  if (!line.is_object() || !line.contains("kind") || !line["kind"].is_string())
    return "is not an object with a \"kind\"";
  const auto& kind = line["kind"].get_ref<const std::string&>();
  const bool figures = kind == "step" || kind == "epoch" || kind == "validation";
  for (const auto& [name, value] : line.items()) {
    const bool number = value.is_number() || value.is_null();
    const bool step = value.is_number_unsigned() ? std::in_range<int64_t>(value.get<uint64_t>())
                                                 : value.is_number_integer() && value.get<int64_t>() >= 0;
    if (name == "step" && !step) return "has a \"step\" that is no whole number";
    if (name == "time" && !number) return "has a \"time\" that is no number";
    if (figures && name != "kind" && !number && !value.is_boolean()) return "has no number in \"" + name + "\"";
  }
  if (figures && !line.contains("step")) return "has no \"step\"";
  return "";
}

}  // namespace

Journal::Journal(const std::filesystem::path& path)
    : path_(path), file_(open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (file_.get() < 0) throw_errno("cannot open the journal", path.string());
  const std::string text = read_text(path);
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (whole < text.size() && ftruncate(file_.get(), static_cast<off_t>(whole)) != 0) {
    throw_errno("cannot remove the unfinished last line from the journal", path.string());
  }
}

void Journal::append(const Json& line) {
  const std::string text = one_line(line);
  const off_t before = lseek(file_.get(), 0, SEEK_END);
  if (before < 0) throw_errno("cannot find the journal's end", path_.string());
  ssize_t put = 0;
  do {
    put = write(file_.get(), text.data(), text.size());
  } while (put < 0 && errno == EINTR);
  if (put == static_cast<ssize_t>(text.size())) return;
  const int code = put < 0 ? errno : ENOSPC;  // a short write to a file means that there is no space left
  // If this fails too, the half line stays. It has no line end, so read_journal() drops it.
  [[maybe_unused]] const int cut = ftruncate(file_.get(), before);
  errno = code;
  throw_errno("cannot write to the journal", path_.string());
}

void Journal::sync() {
  if (fsync(file_.get()) != 0 && errno != EINVAL) throw_errno("cannot flush the journal to disk", path_.string());
}

std::vector<Json> read_journal(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  std::vector<Json> lines;
  size_t number = 0;
  for (size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    ++number;
    Json line = Json::parse(text.begin() + static_cast<ptrdiff_t>(at), text.begin() + static_cast<ptrdiff_t>(end),
                            nullptr, false);
    if (line.is_discarded()) throw damage(number, "is not valid JSON", path);
    if (const std::string fault = fault_of(line); !fault.empty()) throw damage(number, fault, path);
    if (line["kind"] == "run" && line.contains("schema")) {
      check_schema(json_member<std::string>(line, "schema", path.string()), kJournalSchema, "a training journal",
                   path.string(), "train again in another folder");
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

void cut_journal(const std::filesystem::path& path, int64_t step) {
  std::string kept;
  for (const Json& line : read_journal(path)) {
    if (line["kind"] != "run" && line.value("step", int64_t{0}) > step) continue;
    kept += one_line(line);
  }
  write_text(path, kept);
}

}  // namespace packhorse
