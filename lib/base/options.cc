#include "base/options.h"

#include <algorithm>
#include <functional>
#include <iostream>
#include <limits>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "base/error.h"
#include "base/settings_file.h"
#include "base/text.h"
#include "base/typed_json.h"
#include "base/version.h"

namespace packhorse {

namespace {

/// CLI11 shows the default of a flag as that of its negation.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    if (option->get_fnames().empty()) return Formatter::make_option_name(option, positional);
    return "--[no-]" + option->get_lnames().front();
  }
};

std::string like(const std::string& wrong, const std::vector<std::string>& words, const std::string& before) {
  const auto meant = nearest(wrong, words);
  return meant ? "did you mean " + before + *meant + "? " : "";
}

}  // namespace

struct Options::Impl {
  struct Setting {
    std::string name;
    CLI::Option* option;
    std::function<Json()> get;
    std::function<void(const Json&)> set;
    std::vector<std::string> words;                      // allowed values; empty: any
    double low = std::numeric_limits<double>::lowest();  // allowed numbers
    double high = std::numeric_limits<double>::max();
    std::function<void()> take{};  // of an enumeration: what the word means; may be empty
    bool recorded = true;
    bool in_file = false;
    bool given() const { return in_file || option->count() > 0; }
  };
  CLI::App app;
  std::vector<Setting> settings;  // the options of one run, too

  template <typename T>
  void add(const std::string& name, T& value, CLI::Option* option) {
    settings.push_back(
        {name, option, [&value] { return Json(value); }, [&value](const Json& given) { value = typed<T>(given); }, {}});
  }
  template <typename T>
  void add(const std::string& name, T& value, const std::string& help) {
    CLI::Option* option = nullptr;
    if constexpr (std::is_same_v<T, bool>) {
      option = app.add_flag("--" + name + ",!--no-" + name, value, help + (value ? " Default: on." : " Default: off."));
    } else {
      option = app.add_option("--" + name, value, help)->capture_default_str();
    }
    option->group("Settings (recorded in the manifest)");
    add(name, value, option);
  }
  template <typename T>
  void add_run(const std::string& name, T& value, CLI::Option* option) {
    add(name, value, option);
    settings.back().recorded = false;
  }

  /// Throws if there is none of this name. `recorded`: an option of one run is not meant.
  Setting& find(const std::string& name, const std::string& from, bool recorded) {
    std::vector<std::string> names;
    for (Setting& setting : settings) {
      if (recorded && !setting.recorded) continue;
      if (setting.name == name) return setting;
      names.push_back(setting.name);
    }
    throw UsageError({"there is no setting '" + name + "'", from,
                      like(name, names, "") + "run " + app.get_name() + " --help, which lists the settings"});
  }
  void set(Setting& setting, const Json& value, const std::string& from) {
    try {
      setting.set(value);
    } catch (const std::invalid_argument& wanted) {
      throw UsageError({"the setting '" + setting.name + "' has the wrong type: " + value.dump(), from,
                        std::string("give ") + wanted.what() + ", as " + app.get_name() + " --help shows"});
    }
    settle(setting, from);
  }

  /// The limits apply to a value from any source.
  static void settle(const Setting& setting, const std::string& from) {
    check(setting, from);
    if (setting.take) setting.take();
  }
  static void check(const Setting& setting, const std::string& from) {
    const Json value = setting.get();
    if (!setting.words.empty() &&
        std::find(setting.words.begin(), setting.words.end(), value.get<std::string>()) == setting.words.end()) {
      throw UsageError(
          {"'" + setting.name + "' cannot be " + value.dump(), from, "give one of " + joined(setting.words)});
    }
    if (value.is_number() && !(value.get<double>() >= setting.low && value.get<double>() <= setting.high)) {
      throw UsageError({"'" + setting.name + "' cannot be " + value.dump(), from,
                        fmt::format("give a number from {} to {}", setting.low, setting.high)});
    }
  }
};

Options::Options(std::string program, std::string about, std::string example) : impl_(std::make_unique<Impl>()) {
  CLI::App& app = impl_->app;
  app.name(std::move(program));
  app.description(std::move(about));
  app.footer("Example:\n" + std::move(example));
  app.formatter(std::make_shared<HelpFormatter>());
  app.get_formatter()->column_width(34);
  app.set_help_flag("-h,--help", "Print this help and exit.");
  app.add_option("--config", file_,
                 "TOML file with settings, one 'name = value' on each line; those of several stages in tables of their "
                 "names ([pack], [train]). The command line overrides it.");
  app.set_version_flag("--version", std::string("packhorse ") + kVersion, "Print the version and exit.");
}
Options::~Options() = default;

void Options::setting(const std::string& name, bool& value, const std::string& help) { impl_->add(name, value, help); }
void Options::setting(const std::string& name, int& value, const std::string& help) { impl_->add(name, value, help); }
void Options::setting(const std::string& name, int64_t& value, const std::string& help) {
  impl_->add(name, value, help);
}
void Options::setting(const std::string& name, uint64_t& value, const std::string& help) {
  impl_->add(name, value, help);
}
void Options::setting(const std::string& name, double& value, const std::string& help) {
  impl_->add(name, value, help);
}
void Options::setting(const std::string& name, std::string& value, const std::string& help) {
  impl_->add(name, value, help);
}
void Options::setting(const std::string& name, std::vector<std::string>& value, const std::string& help) {
  impl_->add(name, value, help);
  impl_->settings.back().option->delimiter(',');
}

void Options::add_words(const std::string& name, const std::vector<std::string>& words, const std::string& word,
                        const std::function<void(const std::string&)>& take, const std::string& help) {
  const auto given = std::make_shared<std::string>(word);
  impl_->add(name, *given, help);
  one_of(words);
  impl_->settings.back().take = [given, take] { take(*given); };
}

void Options::one_of(const std::vector<std::string>& words) {
  Impl::Setting& setting = impl_->settings.back();
  setting.words = words;
  setting.option->type_name("{" + joined(words) + "}");
}
void Options::between(double low, double high) {
  impl_->settings.back().low = low;
  impl_->settings.back().high = high;
}

void Options::run_option(const std::string& name, bool& value, const std::string& help) {
  impl_->add_run(name, value, impl_->app.add_flag("--" + name, value, help));
}
void Options::run_option(const std::string& name, int& value, const std::string& help) {
  impl_->add_run(name, value, impl_->app.add_option("--" + name, value, help)->capture_default_str());
}
void Options::run_option(const std::string& name, std::string& value, const std::string& help) {
  impl_->add_run(name, value, impl_->app.add_option("--" + name, value, help));
}
void Options::argument(const std::string& name, std::string& value, const std::string& help, bool required) {
  impl_->app.add_option(name, value, help)->required(required);
}
void Options::argument(const std::string& name, std::vector<std::string>& values, const std::string& help,
                       bool required) {
  impl_->app.add_option(name, values, help)->required(required);
}

UsageError Options::unknown_option(const std::string& message) const {
  const std::string help = "run " + impl_->app.get_name() + " --help, which lists the options";
  for (const std::string& word : impl_->app.remaining()) {
    if (!word.starts_with("--")) continue;
    const std::string name = word.substr(2, word.find('=') == std::string::npos ? word.npos : word.find('=') - 2);
    std::vector<std::string> names;
    for (const CLI::Option* option : impl_->app.get_options())
      for (const std::string& known : option->get_lnames()) names.push_back(known);
    return UsageError({"there is no option --" + name, "", like(name, names, "--") + help});
  }
  return UsageError({message, "", help});
}

void Options::parse(int argc, char** argv) {
  command_.assign(argv, argv + argc);
  try {
    impl_->app.parse(argc, argv);
  } catch (const CLI::Success& shown) {
    impl_->app.exit(shown, std::cout, std::cerr);
    throw Answered{};
  } catch (const CLI::ExtrasError& error) {
    throw unknown_option(error.what());
  } catch (const CLI::ParseError& error) {
    throw UsageError({error.what(), "", "run " + impl_->app.get_name() + " --help"});
  }
  for (const auto& setting : impl_->settings) Impl::settle(setting, "the command line");
  if (!file_.empty()) read_file();
}

void Options::read_file() {
  const std::string program = impl_->app.get_name(), own = program.substr(program.find('-') + 1);
  const SettingsFile file = read_settings_file(file_, own, tables_);
  if (file.has_tables) shared_settings_ = file_;
  for (const FileSetting& given : file.settings) {
    Impl::Setting& setting = impl_->find(given.name, given.where, false);
    if (setting.option->count() > 0) continue;
    impl_->set(setting, given.value, given.where);
    setting.in_file = true;
  }
}

void Options::apply(const Json& settings, const std::string& from) {
  for (const auto& [name, value] : settings.items()) {
    Impl::Setting& setting = impl_->find(name, from, true);
    if (!setting.given()) impl_->set(setting, value, from);
  }
}

bool Options::given(const std::string& name) const {
  return std::any_of(impl_->settings.begin(), impl_->settings.end(),
                     [&](const Impl::Setting& setting) { return setting.name == name && setting.given(); });
}

Json Options::settings() const {
  Json all = Json::object();
  for (const auto& setting : impl_->settings)
    if (setting.recorded) all[setting.name] = setting.get();
  return all;
}

}  // namespace packhorse
