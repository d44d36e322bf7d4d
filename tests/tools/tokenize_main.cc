// SPDX-License-Identifier: Apache-2.0
// tokenize FOLDER TOKENS_MAX: reads texts from standard input, each as its length in bytes (32
// bits, little-endian) and its bytes, and writes one line per text: 1 if it was cut, else 0, then
// its ids. The other half of tests/e2e/tokenizer_differential.py.

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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return fail("usage: tokenize FOLDER TOKENS_MAX");
  uint32_t tokens_max = 0;
  const std::string_view number = argv[2];
  std::from_chars(number.data(), number.data() + number.size(), tokens_max);
  const auto tokenizer = sluice::Tokenizer::load(argv[1], tokens_max);
  if (!tokenizer.ok()) return fail(tokenizer.error().message);

  std::array<unsigned char, 4> head;
  std::vector<int32_t> ids;
  std::string text;
  std::string line;
  while (read_exactly(reinterpret_cast<char*>(head.data()), head.size())) {
    text.resize(static_cast<size_t>(head[0]) | static_cast<size_t>(head[1]) << 8 |
                static_cast<size_t>(head[2]) << 16 | static_cast<size_t>(head[3]) << 24);
    if (!read_exactly(text.data(), text.size())) return fail("the last text is not whole");
    ids.clear();
    line = tokenizer.value()->encode(text, ids) ? "1" : "0";
    for (const int32_t id : ids) line += " " + std::to_string(id);
    line += "\n";
    std::fwrite(line.data(), 1, line.size(), stdout);
  }
  return 0;
}
