// SPDX-License-Identifier: Apache-2.0
#include "backends/echo_times.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <string>

namespace sluice {
namespace {

constexpr int64_t kTimeMaxNs = 3'600'000'000'000;

Error invalid(std::string_view spec, const std::string& what) {
  return Error{Code::kInvalid, "model '" + std::string(spec) + "': " + what};
}

// "0.1ms", or nothing.
std::optional<Duration> parse_duration(std::string_view text) {
  double number = 0.0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  double factor = 0.0;
  if (unit == "ns") factor = 1.0;
  if (unit == "us") factor = 1e3;
  if (unit == "ms") factor = 1e6;
  if (unit == "s") factor = 1e9;
  const double ns = number * factor;
  if (factor == 0.0 || !(ns >= 0.0 && ns <= static_cast<double>(kTimeMaxNs))) return std::nullopt;
  return nanoseconds(std::llround(ns));
}

}  // namespace

Result<EchoTimes> parse_echo_spec(std::string_view spec) {
  constexpr std::string_view kName = "echo";
  EchoTimes times;
  if (spec == kName) return times;
  if (!spec.starts_with("echo:")) return invalid(spec, "must be 'echo' or begin with 'echo:'");
  std::string_view rest = spec.substr(kName.size() + 1);
  bool seen_a = false;
  bool seen_b = false;
  while (true) {
    const std::string_view part = rest.substr(0, rest.find(','));
    const std::string_view name = part.substr(0, part.find('='));
    if (name.size() == part.size()) {
      return invalid(spec, "'" + std::string(part) + "' must be a=TIME or b=TIME");
    }
    if (name != "a" && name != "b") {
      return invalid(spec, "unknown setting '" + std::string(name) + "'; there are a and b");
    }
    bool& seen = name == "a" ? seen_a : seen_b;
    if (seen) return invalid(spec, "'" + std::string(name) + "' is set twice");
    seen = true;
    const std::string_view value = part.substr(name.size() + 1);
    const std::optional<Duration> time = parse_duration(value);
    if (!time) {
      return invalid(spec, "'" + std::string(value) +
                               "' must be a number with ns, us, ms or s, at most 3600s");
    }
    (name == "a" ? times.per_batch : times.per_item) = *time;
    if (part.size() == rest.size()) return times;
    rest.remove_prefix(part.size() + 1);
  }
}

}  // namespace sluice
