// SPDX-License-Identifier: Apache-2.0
// tokenize FOLDER TOKENS_MAX [pairs] [left]: reads texts from standard input, each as its length in
// bytes (32 bits, little-endian) and its bytes, and writes one line per text: 1 if it was cut, else
// 0, then its tokens as an engine gets them. With `pairs` two texts give one line; with `left` they
// are cut at their start. The other half of tests/e2e/tokenizer_differential.py.

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/tokenizer.h"

namespace {

// Fills `size` bytes of `to` from standard input; false at its end.
bool read_exactly(char* to, size_t size) { return std::fread(to, 1, size, stdin) == size; }

int fail(const std::string& why) {
  std::fprintf(stderr, "tokenize: %s\n", why.c_str());
  return 1;
}

// The next text of standard input; false at its end, or if it is not whole.
bool read_text(std::string& text) {
  std::array<unsigned char, 4> head;
  if (!read_exactly(reinterpret_cast<char*>(head.data()), head.size())) return false;
  text.resize(static_cast<size_t>(head[0]) | static_cast<size_t>(head[1]) << 8 |
              static_cast<size_t>(head[2]) << 16 | static_cast<size_t>(head[3]) << 24);
  return read_exactly(text.data(), text.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return fail("usage: tokenize FOLDER TOKENS_MAX [pairs] [left]");
  uint32_t tokens_max = 0;
  const std::string_view number = argv[2];
  std::from_chars(number.data(), number.data() + number.size(), tokens_max);
  bool pairs = false;
  sluice::Cut cut = sluice::Cut::kEnd;
  for (int i = 3; i < argc; ++i) {
    const std::string_view word = argv[i];
    pairs = pairs || word == "pairs";
    if (word == "left") cut = sluice::Cut::kStart;
  }
  const auto loaded = sluice::Tokenizer::load(argv[1], tokens_max);
  if (!loaded.ok()) return fail(loaded.error().message);
  const sluice::Tokenizer& tokenizer = *loaded.value();
  if (pairs && !tokenizer.takes_pairs()) return fail("there is no template for pairs, or no room");

  std::vector<int32_t> first;
  std::vector<int32_t> tokens;
  std::string text;
  while (read_text(text)) {
    tokens.clear();
    bool was_cut = false;
    if (pairs) {
      first.clear();
      tokenizer.append_pieces(text, SIZE_MAX, first);
      if (!read_text(text)) return fail("the last pair is not whole");
      was_cut = tokenizer.encode_pair(first, text, cut, tokens);
    } else {
      was_cut = tokenizer.encode(text, cut, tokens);
    }
    std::string line = was_cut ? "1" : "0";
    for (const int32_t token : tokens) line += " " + std::to_string(token);
    line += "\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
  return 0;
}
