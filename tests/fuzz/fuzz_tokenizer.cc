// SPDX-License-Identifier: Apache-2.0
// Any bytes, under any flags and limit, give ids that keep the tokenizer's promises, and the same
// ids when the text is followed by blanks or stands behind other ids. Both halves of it as a pair
// are cut to the same lengths at either end, and keep what stands there.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/engine.h"
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
  spec.pair = bert_pair(1, 2);
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

// Whether `part` is what `whole` has at `at`.
bool stands_at(std::span<const int32_t> whole, size_t at, std::span<const int32_t> part) {
  return at <= whole.size() && part.size() <= whole.size() - at &&
         std::ranges::equal(whole.subspan(at, part.size()), part);
}

// The tokens of a row's second text: without the special token behind them.
std::span<const int32_t> second_of(std::span<const int32_t> row) {
  const auto begin = std::ranges::find_if(row, [](int32_t t) { return (t & kSecondSegment) != 0; });
  return row.subspan(static_cast<size_t>(begin - row.begin()))
      .first(static_cast<size_t>(row.end() - begin) - 1);
}

void check_pair(const Tokenizer& tokenizer, std::string_view first, std::string_view second) {
  if (!tokenizer.takes_pairs()) return;
  std::vector<int32_t> ids;
  tokenizer.append_pieces(first, SIZE_MAX, ids);
  std::vector<int32_t> all;
  ASSERT(!tokenizer.encode_pair(ids, second, Cut::kUncut, all));
  const std::span<const int32_t> second_all = second_of(all);
  ASSERT(all.size() == ids.size() + second_all.size() + 3);
  std::vector<int32_t> at_end;
  const bool cut = tokenizer.encode_pair(ids, second, Cut::kEnd, at_end);
  std::vector<int32_t> at_start;
  ASSERT(tokenizer.encode_pair(ids, second, Cut::kStart, at_start) == cut);
  ASSERT(cut == (all.size() > tokenizer.tokens_max()));
  ASSERT(at_end.size() == std::min<size_t>(all.size(), tokenizer.tokens_max()));
  ASSERT(at_start.size() == at_end.size());
  const std::span<const int32_t> second_end = second_of(at_end);
  const std::span<const int32_t> second_start = second_of(at_start);
  ASSERT(second_end.size() == second_start.size());
  const size_t kept = at_end.size() - 3 - second_end.size();
  ASSERT(stands_at(second_all, 0, second_end));
  ASSERT(stands_at(second_all, second_all.size() - second_start.size(), second_start));
  ASSERT(stands_at(at_end, 1, std::span(ids).first(kept)));
  ASSERT(stands_at(at_start, 1, std::span(ids).last(kept)));
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto tokenizer = sluice::Tokenizer::make(sluice::tiny_spec(data[0]), 2u + data[1]);
  ASSERT(tokenizer.ok());
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  sluice::check(*tokenizer.value(), text);
  const size_t middle = text.size() * (data[0] >> 5) / 7;
  sluice::check_pair(*tokenizer.value(), text.substr(0, middle), text.substr(middle));
  return 0;
}
