// SPDX-License-Identifier: Apache-2.0
// tokenizer_bench FOLDER TEXTS [TOKENS_MAX]: the time per token of our tokenizer on the lines of
// the file TEXTS, each one text; the median of 15 passes over all of them, on one thread.
// tests/bench/tokenizer_bench.py runs it next to the `tokenizers` package.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "backends/tokenizer.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_bench FOLDER TEXTS [TOKENS_MAX]\n");
    return 1;
  }
  using Clock = std::chrono::steady_clock;
  const uint32_t tokens_max = argc > 3 ? static_cast<uint32_t>(std::atoi(argv[3])) : 256;
  const auto load_begin = Clock::now();
  const auto tokenizer = sluice::Tokenizer::load(argv[1], tokens_max);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "tokenizer_bench: %s\n", tokenizer.error().message.c_str());
    return 1;
  }
  const std::chrono::duration<double> load = Clock::now() - load_begin;

  std::ifstream file(argv[2]);
  std::vector<std::string> texts;
  size_t bytes = 0;
  for (std::string line; std::getline(file, line);) {
    bytes += line.size();
    texts.push_back(std::move(line));
  }

  std::vector<int32_t> ids;
  std::vector<double> passes;
  size_t tokens = 0;
  for (int pass = 0; pass < 15; ++pass) {
    tokens = 0;
    const auto begin = Clock::now();
    for (const std::string& text : texts) {
      ids.clear();
      tokenizer.value()->encode(text, ids);
      tokens += ids.size();
    }
    passes.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  if (tokens == 0) return 1;
  std::nth_element(passes.begin(), passes.begin() + 7, passes.end());
  std::printf("sluice: %.4f us per token (%zu texts, %zu bytes, %zu tokens; loaded in %.1f ms)\n",
              passes[7] * 1e6 / static_cast<double>(tokens), texts.size(), bytes, tokens,
              load.count() * 1e3);
  return 0;
}
