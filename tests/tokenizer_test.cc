// SPDX-License-Identifier: Apache-2.0
// The tokenizer against what Hugging Face's `tokenizers` package said: golden ids of hostile texts,
// every code point, and each rule that is easily forgotten. The golden files and their vocabulary
// come from tests/golden/make_tokenizer_golden.py; no model is needed.

#include "backends/tokenizer.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace sluice {
namespace {

const std::string kGolden = std::string(SLUICE_SOURCE_DIR) + "/tests/golden";

using TokenizerPtr = std::unique_ptr<const Tokenizer>;

TokenizerPtr made(TokenizerSpec spec, uint32_t tokens_max) {
  Result<TokenizerPtr> tokenizer = Tokenizer::make(std::move(spec), tokens_max);
  if (!tokenizer.ok()) throw std::runtime_error(tokenizer.error().message);
  return std::move(tokenizer).value();
}

TokenizerSpec golden_spec() {
  Result<TokenizerSpec> spec = read_tokenizer_spec(kGolden);
  if (!spec.ok()) throw std::runtime_error(spec.error().message);
  return std::move(spec).value();
}

// A vocabulary of a few pieces; their ids are their places.
TokenizerSpec tiny_spec(const std::vector<std::string>& pieces) {
  TokenizerSpec spec;
  for (const std::string& piece : pieces) {
    spec.vocabulary.push_back({piece, static_cast<int32_t>(spec.vocabulary.size())});
  }
  spec.cls = 1;
  spec.sep = 2;
  spec.added = {{"[UNK]", 0}, {"[CLS]", 1}, {"[SEP]", 2}};
  return spec;
}
const std::vector<std::string> kTiny = {
    "[UNK]", "[CLS]", "[SEP]", "a",     "b",  "ab", "##b", "##c",    "abc",     "é",
    "##é",   "e",     "!",     "##abc", "中", "i",  "##i", "\u0307", "##\u0307"};

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}
// The ids between [CLS] and [SEP].
std::vector<int32_t> inner(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<int32_t> ids = ids_of(tokenizer, text);
  return {ids.begin() + 1, ids.end() - 1};
}
using Ids = std::vector<int32_t>;

SplitFlags flags_of(JsonView part) {
  const auto flag = [&](std::string_view name) { return part.member(name)->boolean(); };
  return {flag("clean_text"), flag("handle_chinese_chars"), flag("strip_accents"),
          flag("lowercase")};
}

// Hashes words as the golden files do.
struct HashSink {
  uint64_t value = 0xCBF29CE484222325;

  void byte(char c) { value = (value ^ static_cast<uint8_t>(c)) * 0x100000001B3; }
  bool word(std::string_view word) {
    for (const char c : word) byte(c);
    byte('\xFF');
    return true;
  }
  bool long_word() { return true; }
  size_t match_token(std::string_view) { return 0; }
  bool token() { return true; }
};

uint64_t hash_of_every_code_point(SplitFlags flags) {
  const SplitRules rules(flags, 100);
  HashSink sink;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    char text[6] = {'q'};
    const size_t size = 1 + encode_utf8(c, text + 1);
    text[size] = 'q';
    WordSplitter<HashSink>(rules, sink).split({text, size + 1});
    sink.byte('\xFE');
  }
  return sink.value;
}

TEST_CASE("golden texts get the ids that the tokenizers package gave them") {
  std::ifstream file(kGolden + "/tokenizer.jsonl");
  REQUIRE(file);
  const TokenizerSpec spec = golden_spec();
  TokenizerPtr tokenizer;
  size_t cases = 0;
  for (std::string line; std::getline(file, line);) {
    const Slice bytes = Slice::copy_of(line);
    const Result<JsonView> root = parse_json(bytes);
    REQUIRE(root.ok());
    if (root.value().is(JsonType::kObject)) {
      TokenizerSpec part = spec;
      part.flags = flags_of(root.value());
      tokenizer = made(part, static_cast<uint32_t>(*root.value().member("limit")->integer()));
      continue;
    }
    std::string text;
    Ids expected;
    bool cut = false;
    root.value().for_each_item([&](JsonView item) {
      if (item.is(JsonType::kString)) text = item.text();
      if (item.is(JsonType::kNumber)) cut = item.integer() == 1;
      if (item.is(JsonType::kArray)) {
        item.for_each_item([&](JsonView id) {
          expected.push_back(static_cast<int32_t>(*id.integer()));
          return true;
        });
      }
      return true;
    });
    Ids ids;
    const bool was_cut = tokenizer->encode(text, ids);
    CHECK_MESSAGE(ids == expected, line);
    CHECK_MESSAGE(was_cut == cut, line);
    ++cases;
  }
  CHECK(cases > 1500);
}

TEST_CASE("every code point becomes the words that the tokenizers package makes of it") {
  std::ifstream file(kGolden + "/tokenizer.jsonl");
  size_t parts = 0;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("{")) continue;
    const Slice bytes = Slice::copy_of(line);
    const Result<JsonView> part = parse_json(bytes);
    REQUIRE(part.ok());
    const std::string expected = part.value().member("words")->text();
    CHECK_MESSAGE(
        hash_of_every_code_point(flags_of(part.value())) == std::stoull(expected, nullptr, 16),
        line);
    ++parts;
  }
  CHECK(parts == 5);
}

TEST_CASE("a word is cut into the longest pieces, or is unknown as a whole") {
  const TokenizerPtr tokenizer = made(tiny_spec(kTiny), 16);
  CHECK(ids_of(*tokenizer, "abc") == Ids{1, 8, 2});
  CHECK(inner(*tokenizer, "abb") == Ids{5, 6});
  CHECK(inner(*tokenizer, "abcabc") == Ids{8, 13});
  CHECK(inner(*tokenizer, "abz") == Ids{0});
  CHECK(inner(*tokenizer, "c") == Ids{0});
  CHECK(inner(*tokenizer, "a!b") == Ids{3, 12, 4});
  CHECK(inner(*tokenizer, "a中b") == Ids{3, 14, 4});
  CHECK(ids_of(*tokenizer, "") == Ids{1, 2});
  CHECK(ids_of(*tokenizer, " \t\n") == Ids{1, 2});
}

TEST_CASE("a word of more than 100 characters is unknown, however it is written") {
  std::vector<std::string> pieces = kTiny;
  pieces.push_back("##a");
  const TokenizerPtr tokenizer = made(tiny_spec(pieces), 300);
  for (const std::string letter : {"a", "A", "á", "a\u0301"}) {
    std::string word;
    for (int i = 0; i < 100; ++i) word += letter;
    CHECK(inner(*tokenizer, word).size() == 100);
    CHECK(inner(*tokenizer, word + letter) == Ids{0});
    CHECK(inner(*tokenizer, word + letter + letter + " a") == Ids{0, 3});
    CHECK(inner(*tokenizer, word + "!" + word).size() == 201);
  }
}

TEST_CASE("the longest word a vocabulary may ask for is held, and one character more is not") {
  TokenizerSpec spec = tiny_spec(kTiny);
  spec.word_characters_max = kWordCharactersLimit;
  for (const char* letter : {"\U0001F600", "\U0001D165", "a"}) {  // a starter, a mark, ASCII
    spec.vocabulary.push_back({letter, 50});
    spec.vocabulary.push_back({std::string("##") + letter, 51});
    const TokenizerPtr tokenizer = made(spec, 600);
    std::string word;
    for (uint32_t i = 0; i < kWordCharactersLimit; ++i) word += letter;
    CHECK(inner(*tokenizer, word).size() == kWordCharactersLimit);
    CHECK(inner(*tokenizer, word + letter) == Ids{0});
    CHECK(inner(*tokenizer, word + word + " b") == Ids{0, 4});
  }
}

TEST_CASE("special tokens in a text become their ids, as they are written only") {
  const TokenizerPtr tokenizer = made(tiny_spec(kTiny), 16);
  CHECK(inner(*tokenizer, "a[SEP]b [CLS]") == Ids{3, 2, 4, 1});
  CHECK(inner(*tokenizer, "[SEP][SEP]") == Ids{2, 2});
  CHECK(inner(*tokenizer, "[sep]") == Ids{0, 0, 0});
  CHECK(inner(*tokenizer, "[[SEP]") == Ids{0, 2});
  CHECK(inner(*tokenizer, std::string_view("[SE\0P]", 6)) == Ids{0, 0, 0});
}

TEST_CASE("of added tokens that begin alike the longest wins, whatever it begins with") {
  TokenizerSpec spec = tiny_spec(kTiny);
  spec.added = {{"é", 9}, {"ab", 5}, {"abca", 3}};
  const TokenizerPtr tokenizer = made(spec, 16);
  CHECK(inner(*tokenizer, "abcab") == Ids{3, 4});
  CHECK(inner(*tokenizer, "aab") == Ids{3, 5});
  CHECK(inner(*tokenizer, "bé") == Ids{4, 9});
  CHECK(inner(*tokenizer, std::string(200, 'a') + "ab") == Ids{0, 5});
}

TEST_CASE("a text is cut at the limit, special tokens included") {
  const TokenizerPtr tokenizer = made(tiny_spec(kTiny), 5);
  Ids ids = {77};
  CHECK_FALSE(tokenizer->encode("a b a", ids));
  CHECK(ids == Ids{77, 1, 3, 4, 3, 2});
  ids.clear();
  CHECK(tokenizer->encode("a b abb", ids));
  CHECK(ids == Ids{1, 3, 4, 5, 2});
  ids.clear();
  CHECK(tokenizer->encode("a b a [SEP]", ids));
  CHECK(ids == Ids{1, 3, 4, 3, 2});
  ids.clear();
  CHECK_FALSE(tokenizer->encode("a b a \t\u200b\u0301", ids));
  ids.clear();
  CHECK(made(tiny_spec(kTiny), 2)->encode("a", ids));
  CHECK(ids == Ids{1, 2});
}

TEST_CASE("the flags switch each step on its own") {
  TokenizerSpec spec = tiny_spec(kTiny);
  CHECK(inner(*made(spec, 16), "É") == Ids{11});
  spec.flags.strip_accents = false;
  CHECK(inner(*made(spec, 16), "É") == Ids{9});
  CHECK(inner(*made(spec, 16), "İ") == Ids{15, 18});
  CHECK(inner(*made(spec, 16), "a中b") == Ids{3, 14, 4});
  spec.flags.handle_chinese_chars = false;
  CHECK(inner(*made(spec, 16), "a中b") == Ids{0});
  spec.flags.lowercase = false;
  CHECK(inner(*made(spec, 16), "É") == Ids{0});
  CHECK(inner(*made(spec, 16), "a\u200bb") == Ids{5});
  spec.flags.clean_text = false;
  CHECK(inner(*made(spec, 16), "a\u200bb") == Ids{0});
  CHECK(inner(*made(spec, 16), "a\u0085b\tb") == Ids{3, 4, 4});
}

TEST_CASE("bytes that are no UTF-8 count as U+FFFD, which clean-up deletes") {
  TokenizerSpec spec = tiny_spec(kTiny);
  for (const char* text : {"a\xFF"
                           "b",
                           "a\xC3",
                           "\xE4\xB8"
                           "ab",
                           "a\xED\xA0\x80"
                           "b",
                           "\xF4\x90\x80\x80",
                           "a\xC0\x80"
                           "b",
                           "\xF0\x9F\x98"}) {
    std::string clean;
    for (const char* c = text; *c != 0; ++c) {
      if ((*c & 0x80) == 0) clean.push_back(*c);
    }
    CHECK(ids_of(*made(spec, 16), text) == ids_of(*made(spec, 16), clean));
  }
  spec.flags.clean_text = false;
  spec.vocabulary.push_back({"\uFFFD", 50});
  spec.vocabulary.push_back({"##\uFFFD", 51});
  CHECK(inner(*made(spec, 16), "\xFF\xE4\xB8\xE4") == Ids{50, 51, 51});
  CHECK(inner(*made(spec, 16), "\xED\xA0\x80") == Ids{50, 51, 51});
}

TEST_CASE("a specification that is of no use is refused") {
  CHECK_FALSE(Tokenizer::make(tiny_spec(kTiny), 1).ok());
  TokenizerSpec spec = tiny_spec(kTiny);
  spec.vocabulary[5].text = "\xFF";
  CHECK_FALSE(Tokenizer::make(spec, 16).ok());
  spec = tiny_spec(kTiny);
  spec.sep = -1;
  CHECK_FALSE(Tokenizer::make(spec, 16).ok());
}

TEST_CASE("a trie finds the longest string, and of equal ones the highest id") {
  std::vector<VocabularyPiece> pieces = {{"", 9}, {"a", 1}, {"abc", 3}, {"abc", 2}, {"\xFF", 4}};
  for (int32_t i = 0; i < 5000; ++i) pieces.push_back({"x" + std::to_string(i), 100 + i});
  const PieceTrie trie(pieces);
  const auto longest = [&](std::string_view text) {
    const PieceTrie::Match match = trie.longest(PieceTrie::kRoot, text);
    return std::pair(match.length, match.id);
  };
  CHECK(longest("abcd") == std::pair<size_t, int32_t>(3, 3));
  CHECK(longest("abd") == std::pair<size_t, int32_t>(1, 1));
  CHECK(longest("\xFF\xFF") == std::pair<size_t, int32_t>(1, 4));
  CHECK(longest("") == std::pair<size_t, int32_t>(0, -1));
  CHECK(longest("b") == std::pair<size_t, int32_t>(0, -1));
  for (int32_t i = 0; i < 5000; ++i) {
    REQUIRE(longest("x" + std::to_string(i) + "y").second == 100 + i);
  }
  CHECK(trie.walk("ab") != PieceTrie::kNowhere);
  CHECK(trie.walk("b") == PieceTrie::kNowhere);
  CHECK(trie.longest(PieceTrie::kNowhere, "a").length == 0);
  CHECK(trie.longest(trie.walk("ab"), "cc").id == 3);
}

}  // namespace
}  // namespace sluice
