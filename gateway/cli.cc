// SPDX-License-Identifier: Apache-2.0
// The only user of CLI11, which reports by throwing: parse_command_line() catches all of it. The
// flags are made from the tables of settings.h, and their values are read by them.

#include "gateway/cli.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <list>
#include <optional>
#include <sstream>

#include "gateway/cli_doctor.h"
#include "gateway/config_yaml.h"
#include "gateway/settings.h"
#include "gateway/units.h"

namespace sluice {

namespace {

constexpr int kConfigurationWrong = 1;
constexpr int kArgumentsWrong = 2;

// A flag that is short for a key of T. CLI11 writes the text and counts the occurrences.
template <typename T>
struct Flag {
  const Setting<T>* setting = nullptr;
  CLI::Option* option = nullptr;
  std::string text;

  bool given() const { return option->count() > 0; }
};

// Lists, because CLI11 keeps pointers to the texts.
struct Flags {
  std::list<Flag<Config>> process;
  std::list<Flag<ModelConfig>> model;
  std::list<Flag<BackendConfig>> backend;
  std::string serve_file;
  std::string check_file;
  DoctorFlags doctor;
};

Command failed(int exit_code, const std::string& message) {
  Command command;
  command.exit_code = exit_code;
  command.output = message;
  return command;
}

// What stands for a flag's value in --help.
template <typename T>
std::string value_name(const Setting<T>& setting) {
  if (std::holds_alternative<CountField<T>>(setting.field)) return "N";
  if (std::holds_alternative<BytesField<T>>(setting.field)) return "SIZE";
  if (std::holds_alternative<DurationField<T>>(setting.field)) return "TIME";
  return limits_text(setting);
}

template <typename T>
void add_flags(CLI::App& app, std::span<const Setting<T>> settings, std::list<Flag<T>>& flags) {
  for (const Setting<T>& setting : settings) {
    if (setting.flag.empty()) continue;
    Flag<T>& flag = flags.emplace_back();
    flag.setting = &setting;
    const std::string name(setting.flag);
    const std::string type = value_name(setting);
    std::string meaning(setting.meaning);
    if (type != limits_text(setting)) meaning += "; " + limits_text(setting);
    if (const std::string fallback = show_value(setting, T{}); !fallback.empty())
      meaning += " [" + fallback + "]";
    if (std::holds_alternative<SwitchField<T>>(setting.field)) {
      flag.option = app.add_flag(name + "{on}", flag.text, meaning);
    } else {
      flag.option = app.add_option(name, flag.text, meaning)->type_name(type);
    }
  }
}

// The command `doctor`.
void describe_doctor(CLI::App& app, DoctorFlags& flags) {
  CLI::App* doctor = app.add_subcommand(
      "doctor", "ask an endpoint one by one and merged, and say whether the answers are equal");
  doctor->allow_extras();
  doctor->add_option("--upstream", flags.upstream, "the endpoint's base URL")->type_name("URL");
  doctor->add_option("--dialect", flags.dialect, "what it speaks [openai]")->type_name("NAME");
  doctor->add_option("--model", flags.model, "the model to name in requests")->type_name("NAME");
  doctor->add_option("--path", flags.path, "the path to ask, if not the dialect's first")
      ->type_name("PATH");
  doctor
      ->add_option("--sample", flags.sample_files,
                   "file of request bodies, one a line, instead of the built-in ones")
      ->type_name("FILE");
  doctor->add_option("--header", flags.headers, "header to send, such as a key; repeatable")
      ->type_name("\"NAME: VALUE\"");
  doctor->add_option("--ca-file", flags.ca_file, "PEM file of the authorities believed")
      ->type_name("FILE");
  doctor->add_option("--tolerance", flags.tolerance, "how far numbers may lie apart [0.0001]");
  doctor->add_option("--rounds", flags.rounds, "merged calls, each in another order [3]");
}

// The whole grammar. Unknown arguments are let through, because the message of explain_extras() is
// better than CLI11's.
void describe(CLI::App& app, Flags& flags) {
  app.name("sluice");
  app.set_version_flag("--version", "sluice " SLUICE_VERSION);
  app.require_subcommand(0, 1);
  app.allow_extras();
  CLI::App* serve = app.add_subcommand("serve", "answer requests");
  serve->allow_extras();
  serve->add_option("--config", flags.serve_file, "configuration file; flags win over it")
      ->type_name("FILE");
  add_flags(*serve, backend_settings(), flags.backend);
  add_flags(*serve, model_settings(), flags.model);
  add_flags(*serve, process_settings(), flags.process);
  CLI::App* check = app.add_subcommand("check", "say what is wrong with a configuration file");
  check->allow_extras();
  check->add_option("--config", flags.check_file, "configuration file")->type_name("FILE");
  describe_doctor(app, flags.doctor);
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) names.push_back(option->get_name());
  return names;
}

// "; did you mean ...?", or nothing if no name is near.
std::optional<std::string> suggestion(const std::string& word,
                                      const std::vector<std::string>& names,
                                      const std::string& before_name = "") {
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  const auto near = nearest(word, candidates);
  if (!near) return std::nullopt;
  return "; did you mean " + before_name + std::string(*near) + "?";
}

// The message for the first argument that nothing takes, or nothing if all were taken.
std::optional<std::string> explain_extras(const CLI::App& app) {
  const std::vector<std::string> extras = app.remaining(true);
  if (extras.empty()) return std::nullopt;
  const std::string word = extras.front().substr(0, extras.front().find('='));
  const bool is_flag = word.starts_with("-");
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (!chosen.empty()) {
    const CLI::App& asked = *chosen.front();
    const std::string help = "; see sluice " + asked.get_name() + " --help";
    if (!is_flag) return "unexpected argument " + quote(word) + help;
    return "unknown flag " + quote(word) + suggestion(word, flags_of(asked)).value_or(help);
  }
  const std::string help = "; see sluice --help";
  if (is_flag) {
    std::optional<std::string> hint = suggestion(word, flags_of(app));
    // The command may have been forgotten.
    if (!hint) hint = suggestion(word, flags_of(*app.get_subcommand("serve")), "sluice serve ");
    return "unknown flag " + quote(word) + hint.value_or(help);
  }
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return "unknown command " + quote(word) + suggestion(word, names).value_or(help);
}

// Reads the value of `flag` into `target`; the message if it cannot be.
template <typename T>
std::optional<std::string> apply(const Flag<T>& flag, T& target) {
  const Result<Done> done = set_value(*flag.setting, target, flag.text);
  if (done.ok()) return std::nullopt;
  return std::string(flag.setting->flag) + " " + done.error().message + ", not " + quote(flag.text);
}

template <typename T>
bool flag_given(const std::list<Flag<T>>& flags, std::string_view key) {
  for (const Flag<T>& flag : flags) {
    if (flag.setting->key == key) return flag.given();
  }
  return false;
}

// Puts the flags over what the file said. --model makes the only model there is, or names another
// folder for it; the other flags of a model hold for all models of the file. The message if a flag
// has a bad value or is ambiguous.
std::optional<std::string> apply_flags(const Flags& flags, Config& config) {
  for (const Flag<Config>& flag : flags.process) {
    if (!flag.given()) continue;
    if (auto message = apply(flag, config)) return message;
  }
  const bool one_backend = config.models.size() == 1 && config.models[0].backends.size() == 1;
  for (const Flag<BackendConfig>& flag : flags.backend) {
    if (!flag.given()) continue;
    if (flag.setting->key == "path" || flag.setting->key == "url") {
      if (config.models.empty()) {
        config.models.emplace_back().backends.emplace_back();
      } else if (!one_backend) {
        return std::string(flag.setting->flag) +
               " can only replace that of a file's one model with one backend";
      }
    }
    for (ModelConfig& model : config.models) {
      for (BackendConfig& backend : model.backends) {
        if (auto message = apply(flag, backend)) return message;
      }
    }
  }
  if (flag_given(flags.backend, "url") && !config.passthrough) {
    // A drop-in proxy: what cannot be merged goes to the same place.
    config.passthrough = config.models[0].backends[0];
    config.passthrough->upstream.slots = 0;
  }
  for (const Flag<ModelConfig>& flag : flags.model) {
    if (!flag.given()) continue;
    if (flag.setting->key == "name" && config.models.size() > 1) {
      return "--model-name needs a single model; the file has several";
    }
    for (ModelConfig& model : config.models) {
      if (auto message = apply(flag, model)) return message;
    }
  }
  return std::nullopt;
}

std::string format_problems(const std::vector<ConfigProblem>& problems, const std::string& file) {
  std::string out;
  for (const ConfigProblem& problem : problems) out += format_problem(problem, file) + "\n";
  return out;
}

// The file `name` with `flags` over it, or why not. An empty name: no file.
Command load(const std::string& name, const Flags& flags, const Environment& environment) {
  LoadedConfig loaded;
  if (!name.empty()) {
    const Result<std::string> text = read_config_file(name);
    if (!text.ok()) return failed(kConfigurationWrong, "sluice: " + text.error().message + "\n");
    loaded = load_config(text.value(), environment);
    if (!loaded.problems.empty()) {
      return failed(kConfigurationWrong, format_problems(loaded.problems, name));
    }
  }
  if (const auto message = apply_flags(flags, loaded.config)) {
    return failed(kArgumentsWrong, "sluice: " + *message + "\n");
  }
  if (loaded.config.models.empty() && name.empty()) {
    return failed(kArgumentsWrong,
                  "sluice: nothing to serve; name a model with --model DIR (or --model echo), an "
                  "endpoint with --upstream URL, or a file with --config FILE\n");
  }
  finish_config(loaded.config);
  std::vector<ConfigProblem> problems = check_config(loaded.config);
  place_problems(loaded, problems);
  if (!problems.empty()) {
    return failed(kConfigurationWrong, format_problems(problems, name.empty() ? "sluice" : name));
  }
  Command command;
  command.kind = Command::Kind::kServe;
  command.config = std::move(loaded.config);
  return command;
}

Command run(const CLI::App& app, const Flags& flags, const Environment& environment) {
  if (const auto message = explain_extras(app)) {
    return failed(kArgumentsWrong, "sluice: " + *message + "\n");
  }
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (chosen.empty()) {
    return failed(kArgumentsWrong,
                  "sluice: no command; try sluice serve --model DIR, or see sluice --help\n");
  }
  if (chosen.front()->get_name() == "serve") return load(flags.serve_file, flags, environment);
  if (chosen.front()->get_name() == "doctor") return read_doctor(flags.doctor);
  if (flags.check_file.empty()) {
    return failed(kArgumentsWrong, "sluice: check needs --config FILE\n");
  }
  Command command = load(flags.check_file, {}, environment);
  if (command.kind != Command::Kind::kServe) return command;
  command.kind = Command::Kind::kCheck;
  command.output = "ok\n";
  return command;
}

}  // namespace

Command parse_command_line(const std::vector<std::string>& args, const Environment& environment) {
  CLI::App app("sluice: many small inference requests in, few large batches out");
  Flags flags;
  try {
    describe(app, flags);
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
    return run(app, flags, environment);
  } catch (const CLI::Success& e) {  // --help and --version
    std::ostringstream out;
    app.exit(e, out, out);
    return failed(0, out.str());
  } catch (const CLI::Error& e) {
    return failed(kArgumentsWrong, std::string("sluice: ") + e.what() + "\n");
  }
}

}  // namespace sluice
