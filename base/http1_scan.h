// SPDX-License-Identifier: Apache-2.0
#pragma once
// The bytes of HTTP/1.1 heads and chunk frames, one by one and eight at a time.

#include <cstdint>
#include <cstring>

namespace sluice::http1 {

// Whether `c` may stand in no field: a control character; tabs are control characters here.
inline bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '\x7f'; }

// The first control character in [at, end), or end. Eight bytes at a time.
inline const char* find_control(const char* at, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101;
  constexpr uint64_t kHighs = 0x8080808080808080;
  while (end - at >= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    const uint64_t rubout = word ^ (kOnes * 0x7f);
    const uint64_t found = ((word - kOnes * 0x20) & ~word) | ((rubout - kOnes) & ~rubout);
    if ((found & kHighs) != 0) break;
    at += 8;
  }
  while (at < end && !is_control(*at)) ++at;
  return at;
}

// The value of a hexadecimal digit of either case; -1 for anything else.
inline int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace sluice::http1
