// SPDX-License-Identifier: Apache-2.0
// Any bytes, under any flags and limit, give ids that keep the tokenizer's promises, and the same
// ids when the text is followed by blanks or stands behind other ids.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "backends/tokenizer.h"
#include "base/assert.h"

namespace sluice {
namespace {

TokenizerSpec tiny_spec(uint8_t bits) {
  TokenizerSpec spec;
  spec.flags = {(bits & 1) == 0, (bits & 2) == 0, (bits & 4) == 0, (bits & 8) == 0};
  spec.word_characters_max = (bits & 16) == 0 ? 100 : 3;
  for (const char* piece :
       {"[UNK]", "[CLS]",    "[SEP]",  "a",      "##a",      "b",      "##b",     "ab",
        "##ba",  "é",        "##é",    "e",      "##e",      "中",     "!",       "[",
        "]",     "##\u302E", "\u302E", "\u1112", "##\u1161", "\uFFFD", "##\uFFFD"}) {
    spec.vocabulary.push_back({piece, static_cast<int32_t>(spec.vocabulary.size())});
  }
  spec.added = {{"[CLS]", 1}, {"[SEP]", 2}, {"aé", 30}};
  spec.cls = 1;
  spec.sep = 2;
  return spec;
}

void check(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  const bool cut = tokenizer.encode(text, ids);
  ASSERT(ids.size() >= 2);
  ASSERT(ids.size() <= tokenizer.tokens_max());
  ASSERT(!cut || ids.size() == tokenizer.tokens_max());
  ASSERT(ids.front() == tokenizer.cls());
  ASSERT(ids.back() == tokenizer.sep());
  for (const int32_t id : ids) {
    ASSERT(id >= 0);
    ASSERT(static_cast<uint32_t>(id) < tokenizer.vocabulary_size());
  }
  std::vector<int32_t> again = {7};
  ASSERT(tokenizer.encode(std::string(text) + " \n ", again) == cut);
  ASSERT(again.size() == ids.size() + 1);
  ASSERT(std::equal(ids.begin(), ids.end(), again.begin() + 1));
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto tokenizer = sluice::Tokenizer::make(sluice::tiny_spec(data[0]), 2u + data[1]);
  ASSERT(tokenizer.ok());
  sluice::check(*tokenizer.value(), {reinterpret_cast<const char*>(data + 2), size - 2});
  return 0;
}
