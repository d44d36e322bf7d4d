// SPDX-License-Identifier: Apache-2.0
#pragma once
// JSON as slices of the text it came in. A text is validated wholly, once, by parse_json(): every
// string, number and nesting, UTF-8, duplicate keys, lone surrogates. After that a JsonView is a
// part of the valid text and walking it cannot fail; nothing is copied and no tree is built. Only
// while parse_json() runs is there an index, of about six bytes per byte of text.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/chunk.h"
#include "base/result.h"

namespace sluice {

// What a JSON value is; integers are numbers.
enum class JsonType { kNull, kBool, kNumber, kString, kArray, kObject };

// One value inside a validated text. A handle: it lives as long as the text it points into.
class JsonView {
 public:
  // REQUIRES: `raw` is exactly one value of a text that parse_json() accepted, without blanks
  // around it.
  explicit JsonView(std::string_view raw) : raw_(raw) {}

  JsonType type() const;
  bool is(JsonType t) const { return type() == t; }
  // The value as it stood in the text, e.g. `"a\u00e9"` with its quotes.
  std::string_view raw() const { return raw_; }

  // The string without quotes and escapes, as UTF-8. REQUIRES: is(kString)
  std::string text() const;
  // REQUIRES: is(kBool)
  bool boolean() const;
  // The nearest double. REQUIRES: is(kNumber)
  double number() const;
  // The number if it is written as an integer (no fraction or exponent) and fits; else nothing.
  std::optional<int64_t> integer() const;

  // Calls `visit` for each item in order, until it returns false. REQUIRES: is(kArray)
  void for_each_item(const std::function<bool(JsonView item)>& visit) const;
  // Calls `visit` for each member in order, keys unescaped, until it returns false.
  // REQUIRES: is(kObject)
  void for_each_member(
      const std::function<bool(std::string_view key, JsonView value)>& visit) const;
  // The member called `key`, or nothing. REQUIRES: is(kObject)
  std::optional<JsonView> member(std::string_view key) const;
  // Number of items or members. REQUIRES: is(kArray) or is(kObject). Walks the value.
  size_t count() const;

 private:
  std::string_view raw_;
};

// How deep arrays and objects may nest before a text is refused.
inline constexpr size_t kJsonDepthMax = 64;

// Validates the whole of `text` and returns its root. kInvalid for anything that is not exactly one
// JSON value (RFC 8259), and for duplicate keys, lone surrogates, invalid UTF-8, nesting beyond
// kJsonDepthMax and numbers beyond the range of a double (integers of more than 64 bits are
// numbers); the message says what and at which byte. Thread-safe (one simdjson parser per
// thread). The view points into `text`, whose Chunk must outlive it.
Result<JsonView> parse_json(const Slice& text);

// Appends `text` as a JSON string, with quotes; invalid UTF-8 becomes U+FFFD.
void append_json_string(std::string& out, std::string_view text);
// Appends the shortest decimal that reads back as the same float; non-finite values become null.
void append_json_number(std::string& out, float value);
// Appends an integer.
void append_json_number(std::string& out, int64_t value);

}  // namespace sluice
