#include "manifest/plan.h"

#include <fmt/core.h>

#include "base/path_text.h"
#include "base/text.h"

namespace packhorse {
namespace {

std::string line(const std::string& name, const std::string& words) { return fmt::format("{:<11} {}\n", name, words); }

std::string amount(const std::string& quantity, const std::string& words) {
  return words.empty() ? quantity : quantity + ": " + words;
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

}  // namespace

std::string StagePlan::text(const std::string& stage, const std::filesystem::path& writes,
                            const PlannedReplacement& replacement) const {
  std::string text = line(stage, "would " + does);
  for (const auto& path : reads) text += line(&path == &reads.front() ? "reads" : "", path.string());
  text += line("writes", writes.empty() ? "nothing" : writes.string());
  if (!writes.empty()) text += line("before", replacement.words);
  for (const Detail& detail : details) text += line(detail.name, detail.words);
  if (disk_bytes) text += line("disk", amount(bytes_text(*disk_bytes), disk_words));
  if (memory_bytes) text += line("memory", amount(bytes_text(*memory_bytes) + " per rank", memory_words));
  const std::string workers = counted(static_cast<uint64_t>(ranks), "rank") + " with " +
                              counted(static_cast<uint64_t>(threads), "thread") + " each";
  text += line("time", seconds              ? amount("about " + duration_text(*seconds) + " on " + workers, time_words)
                       : time_words.empty() ? "short"
                                            : time_words);
  return text + table + (table.empty() || table.ends_with('\n') ? "" : "\n");
}

std::string StagePlan::json_text(const std::string& stage, const std::filesystem::path& writes,
                                 const PlannedReplacement& replacement) const {
  Json all = {{"schema", kPlanSchema},
              {"stage", stage},
              {"does", does},
              {"reads", Json::array()},
              {"writes", writes.empty() ? Json() : Json(text_of_path(writes))},
              {"before", {{"state", replacement.state}, {"words", replacement.words}}},
              {"disk_bytes", or_null(disk_bytes)},
              {"memory_bytes", or_null(memory_bytes)},
              {"seconds", or_null(seconds)},
              {"ranks", ranks},
              {"threads", threads},
              {"details", Json::object()}};
  for (const auto& path : reads) all["reads"].push_back(text_of_path(path));
  for (const Detail& detail : details) all["details"][detail.name] = detail.value;
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";  // words may name a path that is no text
}

}  // namespace packhorse
