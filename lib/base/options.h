// A stage's command line. Every setting has one name: on the command line (--name), in a TOML file (name = ..., see
// settings_file.h), in a data set's description and in the manifest that records what was used.
//
// Precedence, highest first: command line, --config FILE.toml, the given manifest or description, the default.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace packhorse {

/// Thrown when the command line is already answered (--help, --version, a stage's --print-out): the stage then ends
/// with exit code 0.
struct Answered {};

class Options {
 public:
  /// `example`: one or several complete command lines, shown at the end of --help.
  Options(std::string program, std::string about, std::string example);
  ~Options();
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  /// A setting that changes the result: recorded in the manifest and read from it. The value passed in is the default.
  void setting(const std::string& name, bool& value, const std::string& help);
  void setting(const std::string& name, int& value, const std::string& help);
  void setting(const std::string& name, int64_t& value, const std::string& help);
  void setting(const std::string& name, uint64_t& value, const std::string& help);
  void setting(const std::string& name, double& value, const std::string& help);
  void setting(const std::string& name, std::string& value, const std::string& help);
  void setting(const std::string& name, std::vector<std::string>& value, const std::string& help);
  /// A setting of an enumeration: `words` has a word for each value that can be given.
  template <typename E>
  void setting(const std::string& name, E& value, const std::vector<std::pair<std::string, E>>& words,
               const std::string& help) {
    std::vector<std::string> names;
    std::string standard;
    for (const auto& [word, meaning] : words) {
      names.push_back(word);
      if (meaning == value) standard = word;
    }
    const auto take = [&value, words](const std::string& given) {
      for (const auto& [word, meaning] : words)
        if (word == given) value = meaning;
    };
    add_words(name, names, standard, take, help);
  }
  /// Limits the last added setting to the given words.
  void one_of(const std::vector<std::string>& words);
  /// Limits the last added number to [low, high].
  void between(double low, double high);

  /// An option of this run only (where to write, how many threads): not recorded, and without effect on the result.
  void run_option(const std::string& name, bool& value, const std::string& help);
  void run_option(const std::string& name, int& value, const std::string& help);
  void run_option(const std::string& name, std::string& value, const std::string& help);
  /// A positional argument.
  void argument(const std::string& name, std::string& value, const std::string& help, bool required = true);
  void argument(const std::string& name, std::vector<std::string>& values, const std::string& help,
                bool required = true);

  /// The tables that a settings file can have: this program's own name and those of others, without "packhorse-".
  void tables(std::vector<std::string> names) { tables_ = std::move(names); }

  /// Throws UsageError if the command line or the settings file is wrong, Answered after --help and --version.
  void parse(int argc, char** argv);

  /// Sets the settings that neither the command line nor --config gave. `from` names the source in messages. A name
  /// that is not a setting of this stage is a UsageError.
  void apply(const Json& settings, const std::string& from);

  /// The file of --config, if it has tables: what it says about other stages is for them to check.
  const std::string& shared_settings() const { return shared_settings_; }

  /// Whether the command line or --config gave the setting.
  bool given(const std::string& name) const;

  /// Every setting with the value used.
  Json settings() const;

  const std::vector<std::string>& command() const { return command_; }

 private:
  /// `word`: the default. `take` is called with a word that is allowed.
  void add_words(const std::string& name, const std::vector<std::string>& words, const std::string& word,
                 const std::function<void(const std::string&)>& take, const std::string& help);

  UsageError unknown_option(const std::string& message) const;
  void read_file();

  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::vector<std::string> command_, tables_;
  std::string file_, shared_settings_;
};

}  // namespace packhorse
