// The frame of every stage's main: options, the input, and the folder to write to.
//
// A stage is given one of three things: a data set's description, the manifest of the stage before it, or its own old
// manifest. In each case the settings come from there, unless the command line or --config gives them.
#pragma once

#include <filesystem>
#include <string>

#include "base/options.h"
#include "base/stopwatch.h"
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
  /// The folder to write to: --out if given; else the old folder if the run is repeated, STAGE next to the folder of
  /// the given manifest, or `runs/NAME/STAGE` below the current folder for a description.
  const std::filesystem::path& out() const { return out_; }
  /// Whether --out gave it.
  bool out_given() const { return !out_text_.empty(); }
  /// --plan: print what would be done, and do nothing.
  bool plan() const { return plan_; }

  /// The manifest that this run will write; inputs and settings are filled in.
  StageManifest& manifest() { return manifest_; }
  /// Call it before outputs are replaced. Removes the manifest in out(), unless this run repeats it with the same
  /// settings: then the outputs become what they already are, and a repeat that is killed can be started again. True if
  /// the manifest stays.
  bool retire_manifest();
  /// Writes the manifest: the stage is done. `ranks` is the number of ranks that it ran on.
  void finish(int ranks);
  /// Seconds since the stage began.
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

/// The path that a description's text means: `${NAME}` is replaced from the environment (a variable that is not set is
/// an error that says so), and a relative path starts at `folder`.
std::filesystem::path described_path(const std::string& text, const std::filesystem::path& folder);

/// The path that a stage's setting names. If it was typed, a relative path starts at the current folder; if it comes
/// from a description or an old manifest, at the description's folder. It is recorded relative to the description's
/// folder, so that the run can be repeated from anywhere.
std::filesystem::path settle_path(Stage& stage, const std::string& setting, const std::string& text);

}  // namespace packhorse
