// SPDX-License-Identifier: Apache-2.0
#include "backends/embedded_model.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace sluice {
namespace {

// Keeps the body alive beside the inputs that point into it.
struct Inputs {
  explicit Inputs(std::string_view json)
      : body(Slice::copy_of(R"({"model":"m","input":)" + std::string(json) + "}")),
        request(openai::read_embeddings(body)) {}
  std::span<const openai::Input> get() const { return request.value().inputs; }
  Slice body;
  Result<openai::EmbeddingsRequest> request;
};

EmbeddedBert bert(OnTooLong on_too_long = OnTooLong::kTruncate,
                  std::vector<uint32_t> dimensions = {}) {
  TokenizerSpec spec;
  const std::vector<std::string> pieces = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c"};
  for (size_t i = 0; i < pieces.size(); ++i)
    spec.vocabulary.push_back({pieces[i], static_cast<int32_t>(i)});
  spec.cls = 2;
  spec.sep = 3;
  return EmbeddedBert({.name = "m",
                       .width = 8,
                       .tokens_max = 5,
                       .on_too_long = on_too_long,
                       .dimensions = std::move(dimensions)},
                      Tokenizer::make(spec, 5).value());
}

std::vector<int32_t> ids(const Row& row) {
  const auto span = row.payload.as<int32_t>();
  return {span.begin(), span.end()};
}

TEST_CASE("texts become ids with special tokens, and usage counts all of them") {
  const Inputs inputs(R"(["a b",""])");
  const auto prepared = bert().prepare(inputs.get());
  REQUIRE(prepared.ok());
  REQUIRE(prepared.value().rows.size() == 2);
  CHECK(ids(prepared.value().rows[0]) == std::vector<int32_t>{2, 4, 5, 3});
  CHECK(prepared.value().rows[0].tokens == 4);
  CHECK(ids(prepared.value().rows[1]) == std::vector<int32_t>{2, 3});
  CHECK(prepared.value().prompt_tokens == 6);
  CHECK(prepared.value().inputs_truncated == 0);
}

TEST_CASE("a text that is too long is cut and counted, or refused by its place") {
  const Inputs inputs(R"(["a","a b c a b c"])");
  const auto cut = bert().prepare(inputs.get());
  REQUIRE(cut.ok());
  CHECK(ids(cut.value().rows[1]) == std::vector<int32_t>{2, 4, 5, 6, 3});
  CHECK(cut.value().inputs_truncated == 1);
  const auto refused = bert(OnTooLong::kError).prepare(inputs.get());
  REQUIRE(!refused.ok());
  CHECK(refused.error().param == "input");
  CHECK(refused.error().message.find("input[1]") != std::string::npos);
}

TEST_CASE("a token array gets the special tokens it lacks, and none it has") {
  const Inputs inputs("[[4,5],[2,4,3],[4,4,4,4]]");
  const auto prepared = bert().prepare(inputs.get());
  REQUIRE(prepared.ok());
  CHECK(ids(prepared.value().rows[0]) == std::vector<int32_t>{2, 4, 5, 3});
  CHECK(ids(prepared.value().rows[1]) == std::vector<int32_t>{2, 4, 3});
  CHECK(ids(prepared.value().rows[2]) == std::vector<int32_t>{2, 4, 4, 4, 3});
  CHECK(prepared.value().inputs_truncated == 1);
}

TEST_CASE("a token id that the vocabulary has not is refused") {
  for (const char* text : {"[7]", "[-1]", "[99999999999]"}) {
    const Inputs inputs(text);
    const auto refused = bert().prepare(inputs.get());
    REQUIRE(!refused.ok());
    CHECK(refused.error().code == Code::kInvalid);
    CHECK(refused.error().param == "input");
  }
}

TEST_CASE("vectors may be cut only to sizes the model was trained for") {
  CHECK(!bert().check_dimensions(8));
  CHECK(bert().check_dimensions(4)->param == "dimensions");
  CHECK(bert().check_dimensions(9)->param == "dimensions");
  CHECK(!bert(OnTooLong::kTruncate, {4}).check_dimensions(4));
  CHECK(bert(OnTooLong::kTruncate, {4}).check_dimensions(5)->message.find("8 or 4") !=
        std::string::npos);
}

TEST_CASE("echo takes the bytes of a text and the ids of a token array") {
  const Inputs texts(R"(["ab","\u00e9"])");
  const auto prepared = EmbeddedEcho().prepare(texts.get());
  REQUIRE(prepared.ok());
  CHECK(prepared.value().rows[0].payload.view() == "ab");
  CHECK(prepared.value().rows[1].payload.view() == "\xc3\xa9");
  CHECK(prepared.value().prompt_tokens == 4);
  const Inputs tokens("[1,256]");
  CHECK(EmbeddedEcho().prepare(tokens.get()).value().rows[0].payload.view() ==
        std::string_view("\1\0\0\0\0\1\0\0", 8));
  CHECK(!EmbeddedEcho().prepare(Inputs("[-1]").get()).ok());
  CHECK(EmbeddedEcho().check_dimensions(9));
  CHECK(!EmbeddedEcho().check_dimensions(8));
}

}  // namespace
}  // namespace sluice
