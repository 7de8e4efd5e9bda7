// The frame of every stage's main: options, the input, and the folder to write to.
//
// A stage is given one of three things: a data set's description, the manifest of the stage before it, or its own old
// manifest. In each case the settings come from there, unless the command line or --config gives them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "base/stopwatch.h"
#include "manifest/output_folder.h"
#include "manifest/plan.h"
#include "manifest/stage_manifest.h"

namespace packhorse {

class Stage {
 public:
  /// `name` is the verb ("pack"); `example` shows complete command lines.
  Stage(std::string name, const std::string& about, const std::string& example);

  Options options;

  /// Reads the command line, then the manifest or description it names, and determines settings and folders. `upstream`
  /// lists the stages whose manifests this one can start from ("list" for pack); "dataset" stands for a description.
  /// Throws Answered after --print-out.
  void begin(int argc, char** argv, const std::vector<std::string>& upstream);

  /// What the stage starts from: the manifest of the stage before. For a description only the dataset and its folder.
  const StageManifest& input() const { return input_; }
  /// True if the stage was given its own old manifest: the run is repeated.
  bool repeats() const { return repeats_; }
  /// That manifest.
  const StageManifest& repeated() const { return repeated_; }
  /// The folder to write to: --out if given; else the old folder if the run is repeated, STAGE next to the folder of
  /// the given manifest, or `runs/NAME/STAGE` below the current folder for a description. --name NAME makes it
  /// STAGE-NAME, and --run RUN puts it into a folder RUN.
  const std::filesystem::path& out() const { return out_; }
  /// For a stage that writes only if it is told where: by --out, by --name, or by its own old manifest.
  bool writes() const { return !out_text_.empty() || !suffix_.empty() || repeats_; }
  /// --replace: the result that is there may be replaced by that of other settings.
  bool may_replace() const { return replace_; }
  /// --plan, --plan-json: print what would be done (print_plan()), and do nothing.
  bool plan() const { return plan_ || plan_json_; }
  /// Prints it as it was asked for. `replacement`: what becomes of the result there, if the stage knows better than
  /// that a finished one is replaced.
  void print_plan(const StagePlan& plan, const std::optional<PlannedReplacement>& replacement = {}) const;

  /// The manifest that this run will write; inputs and settings are filled in.
  StageManifest& manifest() { return manifest_; }
  const StageManifest& manifest() const { return manifest_; }
  /// The finished result in out(), if there is one. Throws a UsageError if it is another stage's.
  std::optional<StageManifest> finished() const;
  /// That result, if this run would have the same settings and inputs and the files of the result are there, with their
  /// sizes; not for a run that is repeated or that has --replace.
  std::optional<StageManifest> already_made() const;
  /// Takes the folder out(), once everything is checked that can be checked before work begins; on one rank only.
  /// Throws an Error with kExitBusy if another stage is at work there, and a UsageError if a setting of this command
  /// line would replace the result there by another one (unless --replace is given). `ranks`: all processes that will
  /// write.
  void own(std::vector<ProcessId> ranks = {});
  /// The same, for a stage that looks itself at the result and its settings.
  void own_for_any_settings(std::vector<ProcessId> ranks);
  /// Where this run writes, a folder below out() that nobody looks at. finish() moves it all into out().
  const std::filesystem::path& work() { return folder_->work(); }
  /// Writes below out() / `name` instead, or with an empty name in out() itself, and what was written stays if this
  /// process ends. For a stage that continues where it stopped.
  void work_in(const std::string& name) { folder_->work_in(name.empty() ? out_ : out_ / name); }
  /// Writes the manifest, whose outputs are below work(), and moves everything into place: the stage is done. What the
  /// result before had and this one has not is removed. `ranks` is the number of ranks that it ran on.
  void finish(int ranks);
  /// Seconds since the stage began.
  double seconds() const { return clock_.seconds(); }

 private:
  std::filesystem::path given_manifest();
  std::filesystem::path result_before(const std::string& dataset, const std::string& before) const;
  std::vector<std::string> settings_unlike(const StageManifest& result, bool typed) const;
  PlannedReplacement planned_replacement() const;
  void refuse_other_settings() const;
  void check_settings(const std::filesystem::path& description);
  std::filesystem::path folder_beside(const std::filesystem::path& given) const;
  void recognise(const std::filesystem::path& given, const std::vector<std::string>& upstream);
  void take(const std::filesystem::path& given);
  void take_old(const StageManifest& old);

  std::string name_, given_, out_text_;
  std::string run_, suffix_;
  bool plan_ = false, plan_json_ = false, print_out_ = false, check_settings_ = false, repeats_ = false,
       replace_ = false;
  std::filesystem::path out_, checkpoint_;
  std::unique_ptr<OutputFolder> folder_;
  StageManifest input_, repeated_, manifest_;
  Stopwatch clock_;
};

/// The path that a description's text means: `${NAME}` is replaced from the environment (a variable that is not set is
/// an error that says so), and a relative path starts at `folder`.
std::filesystem::path described_path(const std::string& text, const std::filesystem::path& folder);

/// The path that a stage's setting names. If it was typed, a relative path starts at the current folder; if it comes
/// from a description or an old manifest, at the description's folder. It is recorded relative to the description's
/// folder, so that the run can be repeated from anywhere, and moved with what it reads. What was given as an absolute
/// path (or by a variable) stays one, unless it is below the description's folder: it does not move with the run.
std::filesystem::path settle_path(Stage& stage, const std::string& setting, const std::string& text);

}  // namespace packhorse
