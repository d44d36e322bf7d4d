// SPDX-License-Identifier: Apache-2.0
#include "gateway/cli_doctor.h"

#include <sstream>

#include "gateway/config_yaml.h"
#include "gateway/settings.h"

namespace sluice {

namespace {

Command wrong(const std::string& message) {
  Command command;
  command.exit_code = 2;
  command.output = "sluice: " + message + "\n";
  return command;
}

// Sets the key of a backend as the configuration would; the message if it cannot be.
std::optional<std::string> set_key(BackendConfig& backend, std::string_view key,
                                   std::string_view flag, const std::string& text) {
  for (const Setting<BackendConfig>& setting : backend_settings()) {
    if (setting.key != key) continue;
    const Result<Done> done = set_value(setting, backend, text);
    if (!done.ok()) return std::string(flag) + " " + done.error().message;
  }
  return std::nullopt;
}

// "Name: value" as a header that may be sent.
std::optional<std::string> check_header(const std::string& header) {
  const size_t colon = header.find(':');
  if (colon == std::string::npos) return "--header must be \"Name: value\"";
  const auto error = check_own_header(header.substr(0, colon), header.substr(colon + 1));
  if (error) return "--header " + error->message;
  return std::nullopt;
}

}  // namespace

Command read_doctor(const DoctorFlags& flags) {
  Command command;
  command.kind = Command::Kind::kDoctor;
  DoctorOptions& options = command.doctor;
  if (flags.upstream.empty()) return wrong("doctor needs --upstream URL");
  if (auto message = set_key(options.backend, "url", "--upstream", flags.upstream))
    return wrong(*message);
  if (auto message = set_key(options.backend, "dialect", "--dialect", flags.dialect))
    return wrong(*message);
  options.backend.upstream.tls.ca_file = flags.ca_file;
  for (const std::string& header : flags.headers) {
    if (auto message = check_header(header)) return wrong(*message);
  }
  if (flags.rounds < 1 || flags.rounds > 100) return wrong("--rounds must be 1 to 100");
  if (!(flags.tolerance >= 0 && flags.tolerance <= 1)) return wrong("--tolerance must be 0 to 1");
  for (const std::string& file : flags.sample_files) {
    const Result<std::string> text = read_config_file(file);
    if (!text.ok()) return wrong("--sample: " + text.error().message);
    std::istringstream lines(text.value());
    for (std::string line; std::getline(lines, line);) {
      if (line.find_first_not_of(" \t\r") != std::string::npos) options.samples.push_back(line);
    }
  }
  if (!flags.path.empty() && flags.path.front() != '/')
    return wrong("--path must begin with \"/\"");
  const bool built_in =
      flags.dialect == "openai" || flags.dialect == "tei" || flags.dialect == "cohere";
  if (!built_in && options.samples.size() < 2)
    return wrong("doctor needs --sample FILE with two request bodies or more for the dialect " +
                 flags.dialect);
  options.model = flags.model.empty() ? "default" : flags.model;
  options.path = flags.path;
  options.headers = flags.headers;
  options.tolerance = flags.tolerance;
  options.rounds = flags.rounds;
  return command;
}

}  // namespace sluice
