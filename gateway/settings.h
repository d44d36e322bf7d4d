// SPDX-License-Identifier: Apache-2.0
#pragma once
// Settings: every key of the configuration with its type, limits, flag and meaning, as data. The
// file reader, the command line, the documentation's test and the test of all limits walk these
// tables, so a key cannot exist in one of them alone.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "gateway/config.h"

namespace sluice {

// A whole number from min to max, both allowed.
template <typename T>
struct CountField {
  uint64_t& (*at)(T&);
  uint64_t min;
  uint64_t max;
};

// A number of bytes from min to max, both allowed.
template <typename T>
struct BytesField {
  uint64_t& (*at)(T&);
  uint64_t min;
  uint64_t max;
};

// A span of time from min to max, both allowed.
template <typename T>
struct DurationField {
  Duration& (*at)(T&);
  Duration min;
  Duration max;
};

// on or off.
template <typename T>
struct SwitchField {
  bool& (*at)(T&);
};

// Anything else, with its own reading.
template <typename T>
struct TextField {
  Result<Done> (*set)(T&, std::string_view text);  // as set_value()
  std::string (*show)(const T&);                   // what set would read back
  std::string_view accepts;                        // for people: "auto, cpu or cuda:N"
};

// One key of T, which is Config, ModelConfig or BackendConfig.
template <typename T>
struct Setting {
  std::string_view key;   // below T, e.g. "limits.bytes_held_max"
  std::string_view flag;  // of `sluice serve`, e.g. "--listen"; empty: only in the file
  std::string_view meaning;
  std::variant<CountField<T>, BytesField<T>, DurationField<T>, SwitchField<T>, TextField<T>> field;
};

// The keys of the whole process.
std::span<const Setting<Config>> process_settings();
// The keys of one element of `models`.
std::span<const Setting<ModelConfig>> model_settings();
// The keys of one element of `backends`.
std::span<const Setting<BackendConfig>> backend_settings();

// Reads `text` into the field of `target`. kInvalid if it cannot be read or is out of its limits:
// `target` is unchanged and the message continues "<key> " without repeating the text. Defined for
// the three types of the tables.
template <typename T>
Result<Done> set_value(const Setting<T>& setting, T& target, std::string_view text);

// The field's value as text that set_value() reads back.
template <typename T>
std::string show_value(const Setting<T>& setting, const T& target);

// What set_value() takes, for people: "1 to 64", "on or off".
template <typename T>
std::string limits_text(const Setting<T>& setting);

// One row of docs/CONFIGURATION.md.
struct KeyDocument {
  std::string key;  // from the top: "models[].batch.items_max"
  std::string meaning;
  std::string fallback;  // the default; empty: none
  std::string limits;
  std::string flag;  // empty: none
};

// Every key there is, lists included, in the order of the documentation.
std::vector<KeyDocument> documented_keys();

}  // namespace sluice
