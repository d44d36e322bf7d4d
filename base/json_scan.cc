// SPDX-License-Identifier: Apache-2.0
#include "base/json_scan.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace sluice::json {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The value of the four hexadecimal digits at `digits`, or -1. REQUIRES: four bytes there.
int hex4(const char* digits) {
  int value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = digits[i];
    const int lower = c | 0x20;
    if (is_digit(c)) {
      value = value * 16 + (c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      value = value * 16 + (lower - 'a' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

bool is_high_surrogate(int unit) { return unit >= 0xd800 && unit <= 0xdbff; }
bool is_low_surrogate(int unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

void append_utf8(std::string& out, uint32_t point) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

// Scans the escape at `at`, which is a backslash.
Scan scan_escape(const char* at, const char* end) {
  if (end - at < 2) return {at, "string does not end"};
  if (at[1] != 'u') {
    return std::strchr("\"\\/bfnrt", at[1]) != nullptr && at[1] != '\0'
               ? Scan{at + 2, nullptr}
               : Scan{at, "invalid escape"};
  }
  const int unit = end - at >= 6 ? hex4(at + 2) : -1;
  if (unit < 0) return {at, "invalid \\u escape"};
  if (is_low_surrogate(unit)) return {at, "lone surrogate"};
  if (!is_high_surrogate(unit)) return {at + 6, nullptr};
  if (end - at < 12 || at[6] != '\\' || at[7] != 'u' || !is_low_surrogate(hex4(at + 8))) {
    return {at, "lone surrogate"};
  }
  return {at + 12, nullptr};
}

Scan scan_number(const char* const begin, const char* end) {
  const char* at = begin;
  const auto digits = [&] {
    const char* const first = at;
    while (at < end && is_digit(*at)) ++at;
    return at - first;
  };
  if (at < end && *at == '-') ++at;
  if (at < end && *at == '0') {
    ++at;
  } else if (digits() == 0) {
    return {at, "invalid number"};
  }
  if (at < end && *at == '.') {
    ++at;
    if (digits() == 0) return {at, "invalid number"};
  }
  bool in_range = at - begin < std::numeric_limits<double>::max_exponent10;
  if (at < end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at < end && (*at == '+' || *at == '-')) ++at;
    if (digits() == 0) return {at, "invalid number"};
    in_range = false;
  }
  if (!in_range) {
    const double value = to_double({begin, static_cast<size_t>(at - begin)});
    if (value > std::numeric_limits<double>::max() || value < std::numeric_limits<double>::lowest())
      return {begin, "number out of range"};
  }
  return {at, nullptr};
}

Scan scan_literal(const char* at, const char* end, std::string_view literal) {
  const std::string_view there(at, std::min(literal.size(), static_cast<size_t>(end - at)));
  return there == literal ? Scan{at + literal.size(), nullptr} : Scan{at, "invalid literal"};
}

}  // namespace

// Eight bytes at a time.
const char* find_special(const char* at, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  while (end - at >= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    const uint64_t quote = word ^ (kOnes * '"');
    const uint64_t backslash = word ^ (kOnes * '\\');
    const uint64_t found = ((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash) |
                           ((word - kOnes * 0x20) & ~word);
    if ((found & kHighs) != 0) break;
    at += 8;
  }
  while (at < end && *at != '"' && *at != '\\' && static_cast<unsigned char>(*at) >= 0x20) ++at;
  return at;
}

Scan scan_string(const char* at, const char* end) {
  ++at;
  for (;;) {
    at = find_special(at, end);
    if (at == end) return {at, "string does not end"};
    if (*at == '"') return {at + 1, nullptr};
    if (*at != '\\') return {at, "control character in a string"};
    const Scan escape = scan_escape(at, end);
    if (escape.problem != nullptr) return escape;
    at = escape.end;
  }
}

double to_double(std::string_view raw) {
  double value = 0;
  const auto parsed = std::from_chars(raw.data(), raw.data() + raw.size(), value);
  // from_chars does not say on which side of the range a number lies; strtod does.
  if (parsed.ec == std::errc::result_out_of_range)
    return std::strtod(std::string(raw).c_str(), nullptr);
  return value;
}

Scan scan_scalar(const char* at, const char* end) {
  switch (*at) {
    case '"':
      return scan_string(at, end);
    case 't':
      return scan_literal(at, end, "true");
    case 'f':
      return scan_literal(at, end, "false");
    case 'n':
      return scan_literal(at, end, "null");
    default:
      return scan_number(at, end);
  }
}

std::string unescape(std::string_view raw) {
  std::string text;
  text.reserve(raw.size());
  size_t at = 0;
  while (at < raw.size()) {
    const size_t backslash = std::min(raw.find('\\', at), raw.size());
    text.append(raw, at, backslash - at);
    at = backslash;
    if (at == raw.size()) break;
    const char kind = raw[at + 1];
    at += 2;
    if (kind != 'u') {
      constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
      text.push_back(kTo[kFrom.find(kind)]);
      continue;
    }
    auto point = static_cast<uint32_t>(hex4(raw.data() + at));
    at += 4;
    if (is_high_surrogate(static_cast<int>(point))) {
      const auto low = static_cast<uint32_t>(hex4(raw.data() + at + 2));
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
      at += 6;
    }
    append_utf8(text, point);
  }
  return text;
}

}  // namespace sluice::json
