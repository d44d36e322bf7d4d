// SPDX-License-Identifier: Apache-2.0
#include "backends/json_cursor.h"

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "backends/utf8.h"
#include "base/json.h"
#include "base/json_scan.h"

namespace sluice {
namespace {

// Longer numbers are left to the scanner of json_scan.h, which also knows the range of a double.
constexpr ptrdiff_t kPlainDigitsMax = 300;

bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// Whether `text` is UTF-8.
bool is_utf8(std::string_view text) {
  if (std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return true;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const char* const begin = at;
    // The character itself is three bytes, a broken sequence stands for it with other ones.
    if (decode_utf8(at, end) == kReplacementCharacter &&
        std::string_view(begin, static_cast<size_t>(at - begin)) != "\xef\xbf\xbd")
      return false;
  }
  return true;
}

}  // namespace

JsonCursor::JsonCursor(const Slice& text)
    : text_(text), begin_(text.data()), end_(text.data() + text.size()), at_(begin_) {}

void JsonCursor::skip_blanks() {
  while (at_ < end_ && json::is_blank(*at_)) ++at_;
}

char JsonCursor::peek() {
  skip_blanks();
  return failed_ || at_ == end_ ? '\0' : *at_;
}

bool JsonCursor::enter(char bracket) {
  if (failed_) return false;
  if (peek() != bracket) return fail(bracket == '{' ? "not an object" : "not an array");
  ++at_;
  first_ = true;
  return true;
}

// Behind the comma before the next item or member; false, and behind it, at `closing`.
bool JsonCursor::step(char closing) {
  const char c = peek();
  if (failed_) return false;
  if (c == closing) {
    ++at_;
    first_ = false;
    return false;
  }
  if (!first_) {
    if (c != ',') return fail("not the expected punctuation");
    ++at_;
  }
  first_ = false;
  return peek() != '\0' || fail("the text ends too early");
}

bool JsonCursor::next_member(std::string_view& key) {
  if (!step('}')) return false;
  if (*at_ != '"') return fail("a key is missing");
  const json::Scan scan = json::scan_string(at_, end_);
  if (scan.problem != nullptr) return fail(scan.problem);
  key = json::between(at_ + 1, scan.end - 1);
  if (!is_utf8(key)) return fail("a key is not UTF-8");
  if (key.find('\\') != key.npos) key = key_ = json::unescape(key);
  at_ = scan.end;
  if (peek() != ':') return fail("not the expected punctuation");
  ++at_;
  return peek() != '\0' || fail("a value is missing");
}

bool JsonCursor::next_item() { return step(']'); }

Slice JsonCursor::value() {
  const char c = peek();
  if (c == '\0') {
    fail("a value is missing");
    return {};
  }
  if (c == '[' || c == '{') return container();
  const json::Scan scan = json::scan_scalar(at_, end_);
  if (scan.problem != nullptr || (c == '"' && !is_utf8(json::between(at_, scan.end)))) {
    fail(scan.problem != nullptr ? scan.problem : "a string is not UTF-8");
    return {};
  }
  const char* const begin = std::exchange(at_, scan.end);
  return slice(begin, at_);
}

// An object or array nobody looks into here: its end is found, then it is checked as a text.
Slice JsonCursor::container() {
  const char* const begin = at_;
  size_t depth = 0;
  for (const char* at = begin; at < end_;) {
    if (*at == '"') {
      const json::Scan scan = json::scan_string(at, end_);
      if (scan.problem != nullptr) {
        fail(scan.problem);
        return {};
      }
      at = scan.end;
      continue;
    }
    if (*at == '[' || *at == '{') ++depth;
    if (*at == ']' || *at == '}') --depth;
    ++at;
    if (depth > 0) continue;
    Slice whole = slice(begin, at);
    const Result<JsonView> checked = parse_json(whole);
    if (!checked.ok()) {
      fail(checked.error().message);
      return {};
    }
    at_ = at;
    return whole;
  }
  fail("the text ends too early");
  return {};
}

// Behind the number at `at`, or null. Chunks end in zero bytes, so digits end by themselves.
const char* JsonCursor::number(const char* const at) {
  const char* p = at;
  if (*p == '-') ++p;
  if (!is_digit(*p)) return nullptr;
  if (*p++ != '0') {
    while (is_digit(*p)) ++p;
  }
  if (*p == '.') {
    if (!is_digit(*++p)) return nullptr;
    while (is_digit(*p)) ++p;
  }
  if (*p == 'e' || *p == 'E' || p - at > kPlainDigitsMax) {
    const json::Scan scan = json::scan_scalar(at, end_);
    return scan.problem == nullptr ? scan.end : nullptr;
  }
  return p <= end_ ? p : nullptr;
}

Slice JsonCursor::numbers() {
  if (peek() != '[') {
    fail("not an array of numbers");
    return {};
  }
  const char* const begin = at_++;
  for (;;) {
    skip_blanks();
    const char* const behind = at_ < end_ ? number(at_) : nullptr;
    if (behind == nullptr) {
      fail("not a number");
      return {};
    }
    at_ = behind;
    skip_blanks();
    if (at_ < end_ && *at_ == ',') {
      ++at_;
    } else if (at_ < end_ && *at_ == ']') {
      ++at_;
      return slice(begin, at_);
    } else {
      fail("not the expected punctuation");
      return {};
    }
  }
}

std::string_view JsonCursor::up_to_quote() {
  if (peek() != '"') return {};
  const std::string_view rest = json::between(at_ + 1, end_);
  const size_t size = rest.find('"');
  return size == rest.npos ? std::string_view() : rest.substr(0, size);
}

Slice JsonCursor::take_plain(size_t size) {
  const char* const begin = at_;
  at_ += size + 2;
  ASSERT(at_ <= end_);
  return slice(begin, at_);
}

bool JsonCursor::count(uint64_t max, uint64_t& number) {
  const Slice raw = value();
  if (failed_) return false;
  const std::string_view text = raw.view();
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size() || number > max)
    return fail("not an integer in the range it must be in");
  return true;
}

bool JsonCursor::finish() {
  skip_blanks();
  if (failed_) return false;
  return at_ == end_ || fail("something follows the value");
}

bool JsonCursor::fail(std::string_view problem) {
  if (!failed_) problem_ = problem;
  failed_ = true;
  return false;
}

Error JsonCursor::error() const {
  ASSERT(failed_);
  return Error{.code = Code::kUpstream,
               .message = "The upstream's answer is not what was asked for, at byte " +
                          std::to_string(at_ - begin_) + ": " + problem_ + "."};
}

Slice JsonCursor::slice(const char* begin, const char* end) const {
  return text_.part(static_cast<size_t>(begin - begin_), static_cast<size_t>(end - begin));
}

}  // namespace sluice
