// SPDX-License-Identifier: Apache-2.0
// The tables of keys: every limit holds at both ends, and the documentation says the same.

#include "gateway/settings.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <string>

#include "gateway/config_yaml.h"
#include "gateway/units.h"

namespace sluice {
namespace {

std::string file_text(const std::string& path) {
  std::ifstream file(SLUICE_SOURCE_DIR "/" + path);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

// Sets `text`, which is one of the ends of a range or just beyond it.
template <typename T>
void check_end(const Setting<T>& setting, const std::string& text, bool allowed) {
  CAPTURE(setting.key);
  CAPTURE(text);
  T target;
  const std::string before = show_value(setting, target);
  const Result<Done> done = set_value(setting, target, text);
  CHECK(done.ok() == allowed);
  if (allowed) {
    T again;
    CHECK(set_value(setting, again, show_value(setting, target)).ok());
    CHECK(show_value(setting, again) == show_value(setting, target));
  } else {
    CHECK(done.error().code == Code::kInvalid);
    CHECK(done.error().message == "must be " + limits_text(setting));
    CHECK(show_value(setting, target) == before);
  }
}

template <typename T>
void check_numbers(const Setting<T>& setting, uint64_t min, uint64_t max) {
  REQUIRE(min < max);
  check_end(setting, std::to_string(min), true);
  check_end(setting, std::to_string(max), true);
  check_end(setting, std::to_string(max + 1), false);
  if (min > 0) check_end(setting, std::to_string(min - 1), false);
}

template <typename T>
void check_ends(const Setting<T>& setting) {
  if (const auto* count = std::get_if<CountField<T>>(&setting.field)) {
    check_numbers(setting, count->min, count->max);
  } else if (const auto* bytes = std::get_if<BytesField<T>>(&setting.field)) {
    check_numbers(setting, bytes->min, bytes->max);
  } else if (const auto* time = std::get_if<DurationField<T>>(&setting.field)) {
    REQUIRE(time->min < time->max);
    check_end(setting, format_duration(time->min), true);
    check_end(setting, format_duration(time->max), true);
    check_end(setting, format_duration(time->max + nanoseconds(1)), false);
    if (time->min > Duration{}) {
      check_end(setting, format_duration(time->min - nanoseconds(1)), false);
    }
  }
  // The default is one of the allowed values, where there is one.
  T target;
  if (const std::string fallback = show_value(setting, target); !fallback.empty()) {
    CAPTURE(setting.key);
    CHECK(set_value(setting, target, fallback).ok());
    CHECK(show_value(setting, target) == fallback);
  }
}

TEST_CASE("every limit holds at its lower and its upper end") {
  for (const auto& setting : process_settings()) check_ends(setting);
  for (const auto& setting : model_settings()) check_ends(setting);
  for (const auto& setting : backend_settings()) check_ends(setting);
}

TEST_CASE("what is set is the field of that key and no other") {
  for (const auto& setting : process_settings()) {
    for (const auto& other : process_settings()) {
      if (other.key == setting.key) continue;
      const auto* count = std::get_if<CountField<Config>>(&setting.field);
      const auto* bytes = std::get_if<BytesField<Config>>(&setting.field);
      const auto* time = std::get_if<DurationField<Config>>(&setting.field);
      Config config;
      std::string text;
      if (count != nullptr) text = std::to_string(count->max);
      if (bytes != nullptr) text = std::to_string(bytes->max);
      if (time != nullptr) text = format_duration(time->max);
      if (text.empty()) continue;
      const std::string before = show_value(other, config);
      CAPTURE(setting.key);
      CAPTURE(other.key);
      REQUIRE(set_value(setting, config, text).ok());
      CHECK(show_value(other, config) == before);
    }
  }
}

TEST_CASE("no key and no flag exists twice") {
  std::set<std::string> keys;
  std::set<std::string> flags;
  for (const KeyDocument& document : documented_keys()) {
    CHECK(keys.insert(document.key).second);
    if (!document.flag.empty()) CHECK(flags.insert(document.flag).second);
    CHECK(!document.meaning.empty());
    CHECK(!document.limits.empty());
  }
}

std::string code(const std::string& text) { return text.empty() ? "" : "`" + text + "`"; }

TEST_CASE("the documentation has a row for every key, as the tables have it, and no other") {
  const std::string text = file_text("docs/CONFIGURATION.md");
  std::set<std::string> rows;
  for (const KeyDocument& d : documented_keys()) {
    const std::string row = "| `" + d.key + "` | " + d.meaning + " | " + code(d.fallback) + " | " +
                            d.limits + " | " + code(d.flag) + " |";
    CHECK_MESSAGE(text.find("\n" + row + "\n") != std::string::npos, "missing: ", row);
    rows.insert(row);
  }
  size_t at = 0;
  while ((at = text.find("\n| `", at)) != std::string::npos) {
    const std::string row = text.substr(at + 1, text.find('\n', at + 1) - at - 1);
    CHECK_MESSAGE(rows.contains(row), "no such key: ", row);
    ++at;
  }
}

TEST_CASE("the example is a configuration without problems") {
  LoadedConfig loaded =
      load_config(file_text("examples/sluice.yaml"), [](std::string_view) { return std::nullopt; });
  CHECK(loaded.problems.empty());
  finish_config(loaded.config);
  CHECK(check_config(loaded.config).empty());
  REQUIRE(loaded.config.models.size() == 2);
  CHECK(loaded.config.models[1].backends.at(0).echo->per_batch == milliseconds(2));
}

}  // namespace
}  // namespace sluice
