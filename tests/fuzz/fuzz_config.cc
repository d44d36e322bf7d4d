// SPDX-License-Identifier: Apache-2.0
// The configuration file: any text is read without a crash, every problem has a message and a place
// inside the text, and what has no problems is a configuration the core can be made from.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "gateway/config.h"
#include "gateway/config_yaml.h"
#include "gateway/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  constexpr std::string_view kSecret = "never to be shown";
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find(kSecret) != std::string_view::npos) return 0;
  const auto environment = [&](std::string_view name) -> std::optional<std::string> {
    if (name.size() > 1) return std::nullopt;
    return name == "S" ? std::string(kSecret) : std::string(name);
  };
  LoadedConfig loaded = load_config(text, environment);
  const bool readable = loaded.problems.empty();
  if (readable) {
    finish_config(loaded.config);
    loaded.problems = check_config(loaded.config);
    place_problems(loaded, loaded.problems);
  }
  for (const ConfigProblem& problem : loaded.problems) {
    ASSERT(!problem.message.empty());
    ASSERT(problem.line >= 0 && static_cast<size_t>(problem.line) <= size + 1);
    ASSERT((problem.line == 0) == (problem.column == 0));
    ASSERT(format_problem(problem, "f").find(kSecret) == std::string::npos);
  }
  if (!loaded.problems.empty()) return 0;

  size_t backends = 0;
  for (const ModelConfig& model : loaded.config.models) {
    ASSERT(is_model_name(model.name));
    backends += model.backends.size();
  }
  const CoreOptions options = core_options(loaded.config, std::vector<uint32_t>(backends, 1));
  ASSERT(options.models.size() == loaded.config.models.size());
  for (const Setting<Config>& setting : process_settings()) {
    Config copy;
    ASSERT(set_value(setting, copy, show_value(setting, loaded.config)).ok());
  }
  return 0;
}
