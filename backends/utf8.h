// SPDX-License-Identifier: Apache-2.0
#pragma once
// UTF-8, one code point at a time.

#include <cstddef>
#include <cstdint>

namespace sluice {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// Reads one code point at `at` and moves `at` behind it. Bytes that are no UTF-8 give U+FFFD, once
// per longest beginning of a sequence, as the Unicode standard recommends. A text that holds U+FFFD
// itself gives it too: only the bytes tell which. REQUIRES: at < end.
inline char32_t decode_utf8(const char*& at, const char* end) {
  const auto byte = [](const char* p) { return static_cast<uint8_t>(*p); };
  const uint8_t lead = byte(at++);
  if (lead < 0x80) return lead;
  if (lead < 0xC2 || lead > 0xF4) return kReplacementCharacter;
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t c = lead & (0x3Fu >> more);
  // The second byte is narrower after these leads: no overlong forms, surrogates or planes
  // above 16.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (int i = 0; i < more; ++i) {
    if (at == end || byte(at) < low || byte(at) > high) return kReplacementCharacter;
    c = c << 6 | (byte(at++) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return c;
}

// Writes `c` at `to`, which has room for 4 bytes, and returns how many it took.
// REQUIRES: c is a Unicode scalar value.
inline size_t encode_utf8(char32_t c, char* to) {
  const auto tail = [](char32_t bits) { return static_cast<char>(0x80 | (bits & 0x3F)); };
  if (c < 0x80) {
    to[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    to[0] = static_cast<char>(0xC0 | c >> 6);
    to[1] = tail(c);
    return 2;
  }
  if (c < 0x10000) {
    to[0] = static_cast<char>(0xE0 | c >> 12);
    to[1] = tail(c >> 6);
    to[2] = tail(c);
    return 3;
  }
  to[0] = static_cast<char>(0xF0 | c >> 18);
  to[1] = tail(c >> 12);
  to[2] = tail(c >> 6);
  to[3] = tail(c);
  return 4;
}

}  // namespace sluice
