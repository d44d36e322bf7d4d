// SPDX-License-Identifier: Apache-2.0
#include "gateway/units.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace sluice {

namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr std::array kTimes = {
    Unit{"ns", 1},
    Unit{"us", 1'000},
    Unit{"ms", 1'000'000},
    Unit{"s", 1'000'000'000},
    Unit{"m", 60'000'000'000},
    Unit{"h", 3'600'000'000'000},
};

constexpr uint64_t kKilo = 1000;
constexpr uint64_t kKibi = 1024;
constexpr std::array kSizes = {
    Unit{"", 1},
    Unit{"B", 1},
    Unit{"kB", kKilo},
    Unit{"KB", kKilo},
    Unit{"MB", kKilo* kKilo},
    Unit{"GB", kKilo* kKilo* kKilo},
    Unit{"TB", kKilo* kKilo* kKilo* kKilo},
    Unit{"KiB", kKibi},
    Unit{"MiB", kKibi* kKibi},
    Unit{"GiB", kKibi* kKibi* kKibi},
    Unit{"TiB", kKibi* kKibi* kKibi* kKibi},
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Error invalid(std::string message) {
  return {.code = Code::kInvalid, .message = std::move(message)};
}

// A decimal number taken apart: digits with `fraction` of them behind the point, and what follows.
struct Decimal {
  uint64_t digits = 0;
  uint64_t scale = 1;  // 10 to the number of digits behind the point
  std::string_view unit;
};

// Nothing if there is no number at the start or it has more digits than fit.
std::optional<Decimal> parse_decimal(std::string_view text) {
  constexpr size_t kDigitsMax = 18;  // so that ten times the value still fits 64 bits
  Decimal decimal;
  size_t at = 0;
  size_t digits = 0;
  bool point = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !point && digits > 0) {
      point = true;
      continue;
    }
    if (!is_digit(c)) break;
    if (++digits > kDigitsMax) return std::nullopt;
    decimal.digits = decimal.digits * 10 + static_cast<uint64_t>(c - '0');
    if (point) decimal.scale *= 10;
  }
  if (digits == 0 || (point && decimal.scale == 1)) return std::nullopt;
  decimal.unit = text.substr(at);
  return decimal;
}

// The decimal in the smallest unit; nothing if the unit is unknown, the result is not whole, or it
// does not fit a signed 64-bit number.
std::optional<uint64_t> in_units(const Decimal& decimal, std::span<const Unit> units) {
  const auto unit = std::find_if(units.begin(), units.end(),
                                 [&](const Unit& u) { return u.name == decimal.unit; });
  if (unit == units.end()) return std::nullopt;
  uint64_t product = 0;
  // The parts before and behind the point apart: together, "0.5TiB" in many digits would overflow.
  if (__builtin_mul_overflow(decimal.digits / decimal.scale, unit->factor, &product))
    return std::nullopt;
  uint64_t part = 0;
  if (__builtin_mul_overflow(decimal.digits % decimal.scale, unit->factor, &part))
    return std::nullopt;
  if (part % decimal.scale != 0) return std::nullopt;
  uint64_t sum = 0;
  if (__builtin_add_overflow(product, part / decimal.scale, &sum) || sum > INT64_MAX)
    return std::nullopt;
  return sum;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table are enough: a swap looks two rows back.
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before_last.swap(last);
    last.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

Result<uint64_t> parse_count(std::string_view text) {
  uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failure != std::errc{} || end != text.data() + text.size())
    return invalid("must be a whole number such as 64");
  return value;
}

Result<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration{};
  const std::optional<Decimal> decimal = parse_decimal(text);
  const std::optional<uint64_t> value = decimal ? in_units(*decimal, kTimes) : std::nullopt;
  if (!value) return invalid("must be a duration with its unit, such as 500ms, 10s or 2m");
  return Duration{static_cast<int64_t>(*value)};
}

Result<uint64_t> parse_bytes(std::string_view text) {
  const std::optional<Decimal> decimal = parse_decimal(text);
  const std::optional<uint64_t> value = decimal ? in_units(*decimal, kSizes) : std::nullopt;
  if (!value) return invalid("must be a size such as 64KiB, 4MiB, 1GiB or 20MB");
  return *value;
}

Result<bool> parse_switch(std::string_view text) {
  if (text == "on" || text == "true" || text == "yes") return true;
  if (text == "off" || text == "false" || text == "no") return false;
  return invalid("must be on or off");
}

Result<Address> parse_address(std::string_view text) {
  const Error error = invalid("must be an address such as 127.0.0.1:8080 or [::1]:8080");
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return error;
  const Result<uint64_t> port = parse_count(text.substr(colon + 1));
  if (!port.ok() || port.value() > UINT16_MAX) return error;
  std::string host{text.substr(0, colon)};
  if (host == "localhost") host = "127.0.0.1";
  in6_addr parsed{};
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (inet_pton(AF_INET6, host.c_str(), &parsed) != 1) return error;
  } else if (inet_pton(AF_INET, host.c_str(), &parsed) != 1) {
    return error;
  }
  // inet_pton stops at a NUL, which must not hide the rest of a host.
  if (host.find('\0') != std::string::npos) return error;
  return Address{.host = std::move(host), .port = static_cast<uint16_t>(port.value())};
}

std::string format_duration(Duration value) {
  ASSERT(value.ns >= 0);
  if (value.ns == 0) return "0ms";
  const uint64_t ns = static_cast<uint64_t>(value.ns);
  // Minutes are left out: "90s" and "600s" read better beside each other than "90s" and "10m".
  for (const size_t index : {5u, 3u, 2u, 1u}) {
    const Unit& unit = kTimes[index];
    if (ns % unit.factor == 0) return std::to_string(ns / unit.factor) + std::string(unit.name);
  }
  return std::to_string(ns) + "ns";
}

std::string format_bytes(uint64_t value) {
  for (size_t index = kSizes.size(); value != 0 && index-- > kSizes.size() - 4;) {
    const Unit& unit = kSizes[index];
    if (value % unit.factor == 0)
      return std::to_string(value / unit.factor) + std::string(unit.name);
  }
  return std::to_string(value) + "B";
}

std::string format_address(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates) {
  constexpr size_t kWordBytesMax = 100;  // the table is quadratic, and the word comes from a file
  if (word.size() > kWordBytesMax) return std::nullopt;
  std::optional<std::string_view> best;
  size_t best_distance = 0;
  for (const std::string_view candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance > std::max<size_t>(1, std::max(word.size(), candidate.size()) / 3)) continue;
    if (best && distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::string quote(std::string_view text) {
  constexpr size_t kShownMax = 60;
  std::string out = "\"";
  for (const char c : text.substr(0, kShownMax)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return out + (text.size() > kShownMax ? "...\"" : "\"");
}

}  // namespace sluice
