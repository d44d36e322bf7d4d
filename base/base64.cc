// SPDX-License-Identifier: Apache-2.0
#include "base/base64.h"

#include <array>
#include <cstdint>

namespace sluice {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Both characters of each 12-bit group at once: half the look-ups, which matters because a vector
// of 384 floats is 2,048 characters.
constexpr auto kPairs = [] {
  std::array<std::array<char, 2>, 4096> pairs{};
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = {kAlphabet[i >> 6], kAlphabet[i & 63]};
  return pairs;
}();

constexpr uint8_t kNone = 0x80;  // no character of the alphabet

constexpr auto kValues = [] {
  std::array<uint8_t, 256> values{};
  values.fill(kNone);
  for (uint8_t i = 0; i < 64; ++i) values[static_cast<uint8_t>(kAlphabet[i])] = i;
  return values;
}();

uint32_t value_of(char c) { return kValues[static_cast<uint8_t>(c)]; }

// Whether all characters are of the alphabet. Comparisons and no table, and no way out of the loop:
// so the compiler takes many characters at a time.
bool all_in_alphabet(std::string_view text) {
  uint8_t others = 0;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    const bool letter = static_cast<uint8_t>((byte | 0x20) - 'a') < 26;
    const bool digit = static_cast<uint8_t>(byte - '0') < 10;
    others |= static_cast<uint8_t>(!(letter | digit | (byte == '+') | (byte == '/')));
  }
  return others == 0;
}

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
  const size_t start = out.size();
  out.resize(start + (bytes.size() + 2) / 3 * 4);
  char* to = out.data() + start;
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3, to += 4) {
    const uint32_t bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    to[0] = kPairs[bits >> 12][0];
    to[1] = kPairs[bits >> 12][1];
    to[2] = kPairs[bits & 4095][0];
    to[3] = kPairs[bits & 4095][1];
  }
  if (i == bytes.size()) return;
  const bool two = i + 2 == bytes.size();
  const uint32_t bits = byte(i) << 16 | (two ? byte(i + 1) << 8 : 0);
  to[0] = kAlphabet[bits >> 18];
  to[1] = kAlphabet[bits >> 12 & 63];
  to[2] = two ? kAlphabet[bits >> 6 & 63] : '=';
  to[3] = '=';
}

std::optional<size_t> base64_size(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  if (!all_in_alphabet(text.substr(0, text.size() - padding))) return std::nullopt;
  return text.size() / 4 * 3 - padding;
}

void append_from_base64(std::string& out, std::string_view text) {
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  const size_t start = out.size();
  out.resize(start + text.size() / 4 * 3);
  char* to = out.data() + start;
  for (size_t i = 0; i < text.size(); i += 4, to += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 4; ++j) bits = bits << 6 | (value_of(text[i + j]) & 63);
    to[0] = static_cast<char>(bits >> 16);
    to[1] = static_cast<char>(bits >> 8 & 0xff);
    to[2] = static_cast<char>(bits & 0xff);
  }
  out.resize(out.size() - padding);
}

}  // namespace sluice
