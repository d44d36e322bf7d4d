// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_openai.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

namespace sluice::openai {
namespace {

// Keeps the body alive beside what was read from it.
struct Read {
  Slice body;
  Result<EmbeddingsRequest> request;
};

Read read(std::string_view text) {
  const Slice body = Slice::copy_of(text);
  return {body, read_embeddings(body)};
}

void check_refused(std::string_view text, std::string_view param) {
  CAPTURE(text);
  const Read got = read(text);
  REQUIRE(!got.request.ok());
  CHECK(got.request.error().code == Code::kInvalid);
  CHECK(got.request.error().param == param);
  CHECK(!got.request.error().message.empty());
}

Slice vector_of(std::vector<float> numbers) {
  return Slice::copy_of(
      {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)});
}

TEST_CASE("a string is one input, a list of strings one each") {
  const Read one = read(R"({"model":"m","input":"a\u00e9"})");
  REQUIRE(one.request.ok());
  CHECK(one.request.value().model == "m");
  REQUIRE(one.request.value().inputs.size() == 1);
  CHECK(one.request.value().inputs[0].json.text() == "a\xc3\xa9");
  CHECK(!one.request.value().base64);
  const Read two = read(R"({"input":["a",""],"model":"m","encoding_format":"base64"})");
  REQUIRE(two.request.ok());
  REQUIRE(two.request.value().inputs.size() == 2);
  CHECK(two.request.value().inputs[1].json.text().empty());
  CHECK(two.request.value().base64);
}

TEST_CASE("a flat list of ids is one input, a list of lists one each") {
  const Read flat = read(R"({"model":"m","input":[1,2,3]})");
  REQUIRE(flat.request.ok());
  REQUIRE(flat.request.value().inputs.size() == 1);
  CHECK(flat.request.value().inputs[0].kind == Input::Kind::kTokens);
  const Read lists = read(R"({"model":"m","input":[[1,2],[3]]})");
  REQUIRE(lists.request.ok());
  REQUIRE(lists.request.value().inputs.size() == 2);
  CHECK(lists.request.value().inputs[1].json.raw() == "[3]");
}

TEST_CASE("what is wrong is refused by the name of its field") {
  check_refused(R"({"input":"a"})", "model");
  check_refused(R"({"model":7,"input":"a"})", "model");
  check_refused(R"({"model":"m"})", "input");
  check_refused(R"({"model":"m","input":null})", "input");
  check_refused(R"({"model":"m","input":[]})", "input");
  check_refused(R"({"model":"m","input":[[]]})", "input");
  check_refused(R"({"model":"m","input":["a",1]})", "input");
  check_refused(R"({"model":"m","input":[1,"a"]})", "input");
  check_refused(R"({"model":"m","input":[1.5]})", "input");
  check_refused(R"({"model":"m","input":[[1],2]})", "input");
  check_refused(R"({"model":"m","input":{"a":1}})", "input");
  check_refused(R"({"model":"m","input":"a","encoding_format":"hex"})", "encoding_format");
  check_refused(R"({"model":"m","input":"a","encoding_format":1})", "encoding_format");
  check_refused(R"({"model":"m","input":"a","dimensions":0})", "dimensions");
  check_refused(R"({"model":"m","input":"a","dimensions":1.5})", "dimensions");
  check_refused(R"({"model":"m","input":"a","dimensions":"8"})", "dimensions");
  check_refused(R"({"model":"m","input":"a","user":1})", "user");
  check_refused(R"({"model":"m","input":"a","temperature":1})", "temperature");
  check_refused(R"(["m"])", "");
  check_refused(R"({"model":"m","input":"a")", "");
  check_refused(R"({"model":"m","input":"a","input":"b"})", "");
  check_refused("", "");
}

TEST_CASE("fields that may be left out may be null") {
  const Read got =
      read(R"({"model":"m","input":"a","user":null,"dimensions":null,"encoding_format":null})");
  REQUIRE(got.request.ok());
  CHECK(!got.request.value().dimensions);
}

TEST_CASE("2048 inputs are taken, one more is refused") {
  std::string text = R"({"model":"m","input":["a")";
  for (size_t i = 1; i < kInputsMax; ++i) text += ",\"a\"";
  CHECK(read(text + "]}").request.ok());
  check_refused(text + ",\"a\"]}", "input");
}

TEST_CASE("vectors are written in order, as numbers that read back or as base64") {
  const std::vector<Slice> vectors = {vector_of({0.1f, -2.0f}), vector_of({1.0f, 0.5f})};
  CHECK(
      write_embeddings({.model = "m", .vectors = vectors, .dimensions = {}, .prompt_tokens = 5}) ==
      R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2]},)"
      R"({"object":"embedding","index":1,"embedding":[1,0.5]}],"model":"m",)"
      R"("usage":{"prompt_tokens":5,"total_tokens":5}})");
  // The bytes of [1, 0.5, -2] as little-endian float32.
  const std::vector<Slice> known = {vector_of({1.0f, 0.5f, -2.0f})};
  const std::string text = write_embeddings(
      {.model = "m", .base64 = true, .vectors = known, .dimensions = {}, .prompt_tokens = 1});
  CHECK(text.find(R"("embedding":"AACAPwAAAD8AAADA")") != std::string::npos);
}

TEST_CASE("dimensions cut a vector and scale the rest to length one") {
  const std::vector<Slice> vectors = {vector_of({3.0f, 4.0f, 12.0f})};
  const std::string text =
      write_embeddings({.model = "m", .vectors = vectors, .dimensions = 2, .prompt_tokens = 1});
  CHECK(text.find(R"("embedding":[0.6,0.8])") != std::string::npos);
  const std::vector<Slice> zero = {vector_of({0.0f, 0.0f, 1.0f})};
  const std::string still =
      write_embeddings({.model = "m", .vectors = zero, .dimensions = 2, .prompt_tokens = 1});
  CHECK(still.find(R"("embedding":[0,0])") != std::string::npos);
}

TEST_CASE("every error body has message, type, param and code") {
  for (const Code code : {Code::kInvalid, Code::kNotFound, Code::kTooLarge, Code::kOverloaded,
                          Code::kInternal, Code::kUpstream, Code::kUnavailable, Code::kTimeout}) {
    const Slice body = Slice::copy_of(write_error({.code = code, .message = "a \"quoted\" \x01"}));
    const Result<JsonView> json = parse_json(body);
    REQUIRE(json.ok());
    const auto error = json.value().member("error");
    REQUIRE(error);
    CHECK(error->count() == 4);
    CHECK(error->member("message")->text() == "a \"quoted\" \x01");
    CHECK(error->member("type")->is(JsonType::kString));
    CHECK(error->member("param")->is(JsonType::kNull));
  }
  CHECK(write_error({.code = Code::kNotFound, .message = "m", .param = "model"}) ==
        R"({"error":{"message":"m","type":"invalid_request_error","param":"model",)"
        R"("code":"model_not_found"}})");
}

TEST_CASE("models are listed as OpenAI lists them") {
  const std::vector<std::string> ids = {"a", "b\"c"};
  CHECK(write_models(ids, 7) ==
        R"({"object":"list","data":[{"id":"a","object":"model","created":7,"owned_by":"sluice"},)"
        R"({"id":"b\"c","object":"model","created":7,"owned_by":"sluice"}]})");
}

}  // namespace
}  // namespace sluice::openai
