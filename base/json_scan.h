// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tokens of JSON, byte by byte: what validates a scalar (json.cc) and what finds one's way in a
// text that is valid (json_view.cc). Pure functions on pointers; nothing reads at or beyond `end`.

#include <string>
#include <string_view>

namespace sluice::json {

// Blanks of JSON; nothing else counts as one.
inline bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The text between two places.
inline std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

// What stands at one place of a text: where it ends, or why it is wrong.
struct Scan {
  const char* end;      // behind the token, or at the byte that is wrong
  const char* problem;  // a literal that says what is wrong; null if the token is right
};

// Scans the string, number or literal at `at` and checks all of it, lone surrogates and numbers
// beyond the range of a double included, UTF-8 not included. REQUIRES: at < end.
Scan scan_scalar(const char* at, const char* end);
// The same, of a string. REQUIRES: *at is its opening quote.
Scan scan_string(const char* at, const char* end);

// The first of `"`, `\` and control characters in [at, end), or end.
const char* find_special(const char* at, const char* end);

// The content of a valid string, given without its quotes.
std::string unescape(std::string_view raw);

// The nearest double of a valid number; infinite if beyond the range.
double to_double(std::string_view raw);

}  // namespace sluice::json
