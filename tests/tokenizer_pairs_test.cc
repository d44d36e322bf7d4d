// SPDX-License-Identifier: Apache-2.0
// Pairs of texts against what Hugging Face's `tokenizers` package said, and the templates that
// folders may have for them.

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "backends/engine.h"
#include "backends/tokenizer.h"
#include "base/json.h"
#include "tests/model_files.h"

namespace sluice {
namespace {

using Ids = std::vector<int32_t>;
using TokenizerPtr = std::unique_ptr<const Tokenizer>;
constexpr int32_t kB = kSecondSegment;

TokenizerPtr load(const std::string& folder, uint32_t tokens_max) {
  Result<TokenizerPtr> tokenizer = Tokenizer::load(folder, tokens_max);
  if (!tokenizer.ok()) throw std::runtime_error(tokenizer.error().message);
  return std::move(tokenizer).value();
}

struct Pair {
  Ids tokens;
  bool cut = false;
};
Pair encode(const Tokenizer& tokenizer, std::string_view first, std::string_view second, Cut cut) {
  Ids ids;
  tokenizer.append_pieces(first, SIZE_MAX, ids);
  Pair pair;
  pair.cut = tokenizer.encode_pair(ids, second, cut, pair.tokens);
  return pair;
}

// One line of the golden file.
struct Golden {
  std::string first, second;
  uint32_t limit = 0;
  Cut cut = Cut::kEnd;
  Pair expected;

  explicit Golden(const std::string& line) {
    const Slice text = Slice::copy_of(line);
    std::vector<JsonView> parts;
    parse_json(text).value().for_each_item([&](JsonView item) {
      parts.push_back(item);
      return true;
    });
    first = parts.at(0).text();
    second = parts.at(1).text();
    limit = static_cast<uint32_t>(*parts.at(2).integer());
    cut = *parts.at(3).integer() == 1 ? Cut::kStart : Cut::kEnd;
    parts.at(4).for_each_item([&](JsonView token) {
      expected.tokens.push_back(static_cast<int32_t>(*token.integer()));
      return true;
    });
    expected.cut = *parts.at(5).integer() == 1;
  }
};

// A tokenizer.json of the pieces [UNK] [CLS] [SEP] a b, with `pair` as its template for pairs.
std::string tokenizer_json(const std::string& pair) {
  return R"({"normalizer": null, "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                 {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
      "pair": )" +
         pair + R"(, "special_tokens": {"[CLS]": {"ids": [1]}, "[SEP]": {"ids": [2]}}},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4}}})";
}
std::string special(const char* id, int type) {
  return std::string(R"({"SpecialToken": {"id": ")") + id + R"(", "type_id": )" +
         std::to_string(type) + "}}";
}
std::string text(const char* id, int type) {
  return std::string(R"({"Sequence": {"id": ")") + id + R"(", "type_id": )" + std::to_string(type) +
         "}}";
}

}  // namespace

TEST_CASE("pairs have the tokens, segments and cuts of the original") {
  const std::string golden = std::string(SLUICE_SOURCE_DIR) + "/tests/golden";
  std::ifstream file(golden + "/tokenizer_pairs.jsonl");
  size_t lines = 0;
  TokenizerPtr tokenizer;
  for (std::string line; std::getline(file, line); ++lines) {
    const Golden one(line);
    if (!tokenizer || tokenizer->tokens_max() != one.limit) tokenizer = load(golden, one.limit);
    const Pair pair = encode(*tokenizer, one.first, one.second, one.cut);
    CAPTURE(line);
    CHECK(pair.tokens == one.expected.tokens);
    CHECK(pair.cut == one.expected.cut);
  }
  CHECK(lines > 300);
}

TEST_CASE("an uncut pair has all of its tokens, however long") {
  const TempFolder folder;
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n");
  const TokenizerPtr tokenizer = load(folder.path(), 5);
  const Pair pair = encode(*tokenizer, "a a a", "b b b b", Cut::kUncut);
  CHECK(pair.tokens == Ids{2, 5, 5, 5, 3, 6 | kB, 6 | kB, 6 | kB, 6 | kB, 3 | kB});
  CHECK(!pair.cut);
  CHECK(!load(folder.path(), 3)->takes_pairs());
  CHECK(load(folder.path(), 4)->takes_pairs());
}

TEST_CASE("the template of a folder is followed, with special tokens and segments where it says") {
  const TempFolder folder;
  folder.write("tokenizer.json", tokenizer_json("[" + special("[SEP]", 1) + "," + text("A", 1) +
                                                "," + special("[CLS]", 0) + "," +
                                                special("[SEP]", 0) + "," + text("B", 0) + "]"));
  const TokenizerPtr tokenizer = load(folder.path(), 8);
  REQUIRE(tokenizer->takes_pairs());
  CHECK(encode(*tokenizer, "a", "b b", Cut::kEnd).tokens == Ids{2 | kB, 3 | kB, 1, 2, 4, 4});
  // Three special tokens leave five of eight to the texts: three stay whole, the other is cut.
  CHECK(encode(*tokenizer, "a a", "b b b b", Cut::kEnd).tokens ==
        Ids{2 | kB, 3 | kB, 3 | kB, 1, 2, 4, 4, 4});
}

TEST_CASE("a template that a row cannot hold leaves single texts to the tokenizer, and no pairs") {
  const std::string a = text("A", 0);
  const std::string b = text("B", 1);
  for (const std::string& pair :
       {std::string("null"), "[" + a + "]", "[" + b + "," + a + "]", "[" + a + "," + a + "]",
        "[" + a + "," + text("B", 2) + "]", "[" + a + "," + b + "," + b + "]"}) {
    CAPTURE(pair);
    const TempFolder folder;
    folder.write("tokenizer.json", tokenizer_json(pair));
    const TokenizerPtr tokenizer = load(folder.path(), 8);
    CHECK(!tokenizer->takes_pairs());
    Ids ids;
    tokenizer->encode("a b", ids);
    CHECK(ids == Ids{1, 3, 4, 2});
  }
}

TEST_CASE("a single text in another segment than the first is refused") {
  const TempFolder folder;
  std::string json = tokenizer_json("null");
  const std::string from = R"({"id": "A", "type_id": 0})";
  json.replace(json.find(from), from.size(), R"({"id": "A", "type_id": 1})");
  folder.write("tokenizer.json", json);
  const Result<TokenizerPtr> tokenizer = Tokenizer::load(folder.path(), 8);
  REQUIRE(!tokenizer.ok());
  CHECK(tokenizer.error().message.find("type_id other than 0") != std::string::npos);
}

TEST_CASE("a text cut at its start keeps its last tokens") {
  const TempFolder folder;
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n");
  const TokenizerPtr tokenizer = load(folder.path(), 4);
  Ids ids = {9};
  CHECK(tokenizer->encode("a a a b", Cut::kStart, ids));
  CHECK(ids == Ids{9, 2, 5, 6, 3});
  ids.clear();
  CHECK(!tokenizer->encode("a b", Cut::kStart, ids));
  CHECK(ids == Ids{2, 5, 6, 3});
  ids.clear();
  CHECK(!tokenizer->encode("a a a b", Cut::kUncut, ids));
  CHECK(ids == Ids{2, 5, 5, 5, 6, 3});
}

}  // namespace sluice
