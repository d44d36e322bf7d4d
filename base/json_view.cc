// SPDX-License-Identifier: Apache-2.0
// Walking a valid text, and writing JSON.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "base/json.h"
#include "base/json_scan.h"

namespace sluice {
namespace {

using json::between;
using json::is_blank;

// Behind the string, number or literal at `at` of a valid text.
const char* skip_scalar(const char* at, const char* end) {
  if (*at != '"') {
    while (at < end && !is_blank(*at) && *at != ',' && *at != ']' && *at != '}' && *at != ':') ++at;
    return at;
  }
  for (++at;;) {
    at = json::find_special(at, end);
    ASSERT(at < end);
    if (*at == '"') return at + 1;
    at += 2;
  }
}

// Behind the value at `at` of a valid text.
const char* skip_value(const char* at, const char* end) {
  size_t depth = 0;
  while (at < end) {
    if (*at == '"') {
      at = skip_scalar(at, end);
    } else if (*at == '[' || *at == '{') {
      ++depth;
      ++at;
    } else if (*at == ']' || *at == '}') {
      --depth;
      ++at;
    } else if (depth == 0) {
      return skip_scalar(at, end);
    } else {
      ++at;
    }
    if (depth == 0) return at;
  }
  return at;
}

const char* skip_blanks(const char* at, const char* end) {
  while (at < end && is_blank(*at)) ++at;
  return at;
}

// The length of the well-formed UTF-8 sequence at the start of `text`, or 0 if there is none.
// REQUIRES: not empty.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (length < 2) return length;
  if (lead > 0xf4 || text.size() < length) return 0;
  // The second byte also rules out overlong forms, surrogates and what lies beyond U+10FFFF.
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

// Appends the escape of `c`. REQUIRES: a quote, a backslash or a control character.
void append_escape(std::string& out, char c) {
  constexpr std::string_view kFrom = "\"\\\b\f\n\r\t", kTo = "\"\\bfnrt";
  constexpr std::string_view kHex = "0123456789abcdef";
  const size_t index = kFrom.find(c);
  if (index != kFrom.npos) {
    out.push_back('\\');
    out.push_back(kTo[index]);
  } else {
    out.append("\\u00");
    out.push_back(kHex[static_cast<unsigned char>(c) >> 4]);
    out.push_back(kHex[static_cast<unsigned char>(c) & 15]);
  }
}

template <typename Number>
void append_chars(std::string& out, Number value) {
  char buffer[32];
  const auto written = std::to_chars(buffer, buffer + sizeof(buffer), value);
  out.append(buffer, written.ptr);
}

}  // namespace

JsonType JsonView::type() const {
  ASSERT(!raw_.empty());
  switch (raw_.front()) {
    case '{':
      return JsonType::kObject;
    case '[':
      return JsonType::kArray;
    case '"':
      return JsonType::kString;
    case 't':
    case 'f':
      return JsonType::kBool;
    case 'n':
      return JsonType::kNull;
    default:
      return JsonType::kNumber;
  }
}

std::string JsonView::text() const {
  ASSERT(is(JsonType::kString));
  return json::unescape(raw_.substr(1, raw_.size() - 2));
}

bool JsonView::boolean() const {
  ASSERT(is(JsonType::kBool));
  return raw_.front() == 't';
}

double JsonView::number() const {
  ASSERT(is(JsonType::kNumber));
  return json::to_double(raw_);
}

std::optional<int64_t> JsonView::integer() const {
  int64_t value = 0;
  const char* const end = raw_.data() + raw_.size();
  const auto parsed = std::from_chars(raw_.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return value;
}

void JsonView::for_each_item(const std::function<bool(JsonView item)>& visit) const {
  ASSERT(is(JsonType::kArray));
  const char* const end = raw_.data() + raw_.size() - 1;  // at the closing bracket
  const char* at = skip_blanks(raw_.data() + 1, end);
  while (at < end) {
    const char* const item_end = skip_value(at, end);
    if (!visit(JsonView(between(at, item_end)))) return;
    at = skip_blanks(item_end, end);
    if (at < end) at = skip_blanks(at + 1, end);  // the comma
  }
}

void JsonView::for_each_member(
    const std::function<bool(std::string_view key, JsonView value)>& visit) const {
  ASSERT(is(JsonType::kObject));
  const char* const end = raw_.data() + raw_.size() - 1;  // at the closing brace
  const char* at = skip_blanks(raw_.data() + 1, end);
  std::string unescaped;
  while (at < end) {
    const char* const key_end = skip_scalar(at, end);
    std::string_view key = between(at + 1, key_end - 1);
    if (key.find('\\') != key.npos) key = unescaped = json::unescape(key);
    const char* const colon = skip_blanks(key_end, end);
    const char* const value = skip_blanks(colon + 1, end);
    const char* const value_end = skip_value(value, end);
    if (!visit(key, JsonView(between(value, value_end)))) return;
    at = skip_blanks(value_end, end);
    if (at < end) at = skip_blanks(at + 1, end);  // the comma
  }
}

std::optional<JsonView> JsonView::member(std::string_view key) const {
  std::optional<JsonView> found;
  for_each_member([&](std::string_view name, JsonView value) {
    if (name == key) found = value;
    return !found.has_value();
  });
  return found;
}

size_t JsonView::count() const {
  size_t count = 0;
  if (is(JsonType::kObject)) {
    for_each_member([&](std::string_view, JsonView) { return ++count != 0; });
  } else {
    for_each_item([&](JsonView) { return ++count != 0; });
  }
  return count;
}

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    // The longest part that can be copied as it is.
    size_t copied = 0;
    while (copied < text.size()) {
      const char c = text[copied];
      if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20) break;
      const size_t length = utf8_length(text.substr(copied));
      if (length == 0) break;
      copied += length;
    }
    out.append(text, 0, copied);
    text.remove_prefix(copied);
    if (text.empty()) break;
    if (static_cast<unsigned char>(text.front()) < 0x80) {
      append_escape(out, text.front());
    } else {
      out.append("\xef\xbf\xbd");
    }
    text.remove_prefix(1);
  }
  out.push_back('"');
}

void append_json_number(std::string& out, float value) {
  if (std::isfinite(value)) {
    append_chars(out, value);
  } else {
    out.append("null");
  }
}

void append_json_number(std::string& out, int64_t value) { append_chars(out, value); }

}  // namespace sluice
