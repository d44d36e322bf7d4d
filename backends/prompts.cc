// SPDX-License-Identifier: Apache-2.0
#include "backends/prompts.h"

#include <optional>
#include <string_view>

#include "backends/json_file.h"

namespace sluice {

Result<Prompts> read_prompts(const std::string& folder) {
  Prompts prompts;
  Result<std::optional<JsonFile>> read =
      JsonFile::read(folder + "/config_sentence_transformers.json");
  if (!read.ok()) return read.error();
  if (!read.value()) return prompts;
  const JsonFile& file = *read.value();
  const auto texts = file.member("prompts");
  if (texts && !texts->is(JsonType::kNull)) {
    bool good = texts->is(JsonType::kObject);
    if (good) {
      texts->for_each_member([&](std::string_view name, JsonView text) {
        good = text.is(JsonType::kString);
        if (good) prompts.by_name.emplace_back(name, text.text());
        return good;
      });
    }
    if (!good) return file.error("prompts", "must be an object of strings");
  }
  const auto usual = file.member("default_prompt_name");
  if (!usual || usual->is(JsonType::kNull)) return prompts;
  const std::optional<std::string> name = file.text("default_prompt_name");
  for (const auto& [known, text] : prompts.by_name) {
    if (name && known == *name) {
      prompts.usual = text;
      return prompts;
    }
  }
  return file.error("default_prompt_name", "must be one of 'prompts'");
}

}  // namespace sluice
