// The frame that every stage's main stands in: options, what it was given, where it writes, errors into exit codes.
//
// A stage is given one of three things: a data set's description, the manifest of the stage before it, or its own old
// manifest. Whichever it is, the settings come from there unless the command line says otherwise.
#pragma once

#include <filesystem>
#include <string>

#include "base/options.h"
#include "base/stopwatch.h"
#include "manifest/stage_manifest.h"

namespace packhorse {

class Stage {
 public:
  /// `name` is the verb ("pack"); `example` complete command lines.
  Stage(std::string name, const std::string& about, const std::string& example);

  Options options;

  /// Reads the command line, then the manifest or description it names, and settles settings and folders. `upstream`
  /// lists the stages whose manifests this one can start from ("list" for pack); a description is taken when it is
  /// empty or contains "dataset". Throws Answered after --print-out.
  void begin(int argc, char** argv, const std::vector<std::string>& upstream);

  const std::string& name() const { return name_; }
  /// What the stage starts from: outputs of the stage before. For a description it holds dataset and folder only.
  const StageManifest& input() const { return input_; }
  /// True when the stage was given its own old manifest: the run is repeated.
  bool repeats() const { return repeats_; }
  /// The folder it writes to: --out, or the old one when repeating, or `runs/NAME/STAGE` beside the input.
  const std::filesystem::path& out() const { return out_; }
  /// Whether --out named it.
  bool out_given() const { return !out_text_.empty(); }
  /// --plan: say what would be done, do nothing.
  bool plan() const { return plan_; }

  /// The record in the making, its inputs and settings filled in.
  StageManifest& manifest() { return manifest_; }
  /// Before outputs are replaced: takes away the manifest that stands in out(), unless this run repeats it with the
  /// same settings. Then outputs become what they are, and a repeat that is killed can be started again. True if it
  /// stays.
  bool retire_manifest();
  /// Writes the manifest: the stage is done. `ranks` as it ran.
  void finish(int ranks);
  /// Since the stage began.
  double seconds() const { return clock_.seconds(); }

 private:
  void recognise(const std::filesystem::path& given, const std::vector<std::string>& upstream);
  void take(const std::filesystem::path& given);
  void take_old(const StageManifest& old);

  std::string name_, given_, out_text_;
  bool plan_ = false, print_out_ = false, repeats_ = false;
  std::filesystem::path out_;
  StageManifest input_, manifest_;
  Stopwatch clock_;
};

/// The path that a description's text means: `${NAME}` replaced from the environment (an unset name is an error that
/// says so), and a relative path taken from `folder`.
std::filesystem::path described_path(const std::string& text, const std::filesystem::path& folder);

/// The path that a stage's setting names: one that was typed is taken from the current folder, one from a description
/// or an old manifest from the description's folder. It is recorded relative to the latter, so that the run can be
/// repeated from anywhere.
std::filesystem::path settle_path(Stage& stage, const std::string& setting, const std::string& text);

}  // namespace packhorse
