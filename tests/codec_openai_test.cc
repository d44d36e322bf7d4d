// SPDX-License-Identifier: Apache-2.0
// The codec of POST /v1/embeddings.
#include <cmath>

#include "backends/dialect_openai.h"
#include "tests/codec_harness.h"

namespace sluice {
namespace {

const Codec& codec() { return openai::embeddings_codec(); }
constexpr std::string_view kPath = "/v1/embeddings";
// [1, 0.5, -2] as little-endian float32.
constexpr std::string_view kBase64 = R"("AACAPwAAAD8AAADA")";

std::string answer_of(std::string_view embedding) {
  return R"({"data":[{"index":0,"embedding":)" + std::string(embedding) + "}]}";
}

std::string request_of(std::string_view format) {
  return R"({"model":"m","input":"a")" +
         (format.empty() ? "" : R"(,"encoding_format":")" + std::string(format) + '"') + "}";
}

TEST_CASE("rows are slices of the body, a flat list of ids is one") {
  const Slice body = Slice::copy_of(R"({"input": [ "a\u00e9", "b" ], "model": "m"})");
  const Result<Asked> texts = codec().read_request(post(kPath), body);
  REQUIRE(texts.ok());
  REQUIRE(texts.value().rows.size() == 2);
  CHECK(texts.value().rows[0].wire.view() == R"("a\u00e9")");
  CHECK(texts.value().rows[0].wire.data() == body.data() + 12);
  CHECK(texts.value().key.model == "m");
  CHECK(asked(codec(), kPath, R"({"model":"m","input":[1,2]})").rows.size() == 1);
  CHECK(asked(codec(), kPath, R"({"model":"m","input":[[1,2],[3]]})").rows[1].wire.view() == "[3]");
  CHECK(asked(codec(), kPath, R"({"model":"m","input":""})").rows.size() == 1);
}

TEST_CASE("errors name the field, and the item") {
  check_refused(codec(), kPath, R"({"model":"m","input":["a","b","c",7]})", "input", "input[3]");
  check_refused(codec(), kPath, R"({"model":"m","input":[[1],["x"]]})", "input", "input[1][0]");
  check_refused(codec(), kPath, R"({"model":"m","input":[]})", "input", "empty");
  check_refused(codec(), kPath, R"({"model":"m"})", "input");
  check_refused(codec(), kPath, R"({"input":"a"})", "model");
  check_refused(codec(), kPath, R"({"model":null,"input":"a"})", "model");
  check_refused(codec(), kPath, R"({"model":"m","input":"a","dimensions":-1})", "dimensions");
  check_refused(codec(), kPath, R"({"model":"m","input":"a","user":7})", "user");
  check_refused(codec(), kPath, R"({"model":"m","input":"a","encoding_format":"x"})",
                "encoding_format");
  check_refused(codec(), kPath, R"({"model":"m","input":"a","b":{"c":1,"c":2}})", "", "duplicate");
  check_refused(codec(), kPath, R"(["a"])", "", "object");
  std::string many = R"({"model":"m","input":["a")";
  for (size_t i = 1; i < openai::kInputsMax; ++i) many += R"(,"a")";
  CHECK(ask(codec(), kPath, many + "]}").ok());
  check_refused(codec(), kPath, many + R"(,"a"]})", "input", "2048");
}

TEST_CASE("a server at the root of its URL needs no model") {
  const Asked request = asked(codec(), "/embeddings", R"({"input":"a"})");
  const Result<CallRequest> call = codec().write_call(request.key, call_rows(request));
  REQUIRE(call.ok());
  CHECK(call.value().target == "/embeddings");
  CHECK(text_of(call.value().body) == R"({"input":["a"]})");
}

TEST_CASE("unknown members reach the same protocol as they came, who asks reaches nobody") {
  const Asked request =
      asked(codec(), "/v1/embeddings?v=1",
            R"({"x":{"b": [1, 2]},"model":"m","user":"u","input":"a","dimensions":8})");
  CHECK(request.key.codec == codec().name());
  const Result<CallRequest> call = codec().write_call(request.key, call_rows(request));
  REQUIRE(call.ok());
  CHECK(call.value().method == "POST");
  CHECK(call.value().target == "/v1/embeddings?v=1");
  CHECK(text_of(call.value().body) ==
        R"({"model":"m","input":["a"],"dimensions":8,"x":{"b": [1, 2]}})");
  const std::string one =
      asked(codec(), kPath, R"({"model":"m","input":"a","user":"u"})").key.encode();
  CHECK(asked(codec(), kPath, R"({"input":"b","model":"m","encoding_format":"base64","user":"v"})")
            .key.encode() == one);
  CHECK(asked(codec(), kPath, R"({"model":"m","input":"a","dimensions":8})").key.encode() != one);
}

TEST_CASE("base64 is asked for if all want it, decimals if any does, else nothing") {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"", ""}, ""},
      {{"base64", "base64"}, R"(,"encoding_format":"base64")"},
      {{"float", "float"}, R"(,"encoding_format":"float")"},
      {{"base64", ""}, R"(,"encoding_format":"float")"},
      {{"", "float"}, R"(,"encoding_format":"float")"}};
  for (const auto& [formats, wanted] : cases) {
    std::vector<Asked> all;
    for (const std::string& format : formats)
      all.push_back(asked(codec(), kPath, request_of(format)));
    CHECK(call_text(codec(), all[0].key, call_rows(all)) ==
          R"({"model":"m","input":["a","a"])" + wanted + "}");
  }
}

TEST_CASE("vectors pass as they came, or change their form for whom wants the other") {
  const Asked decimals = asked(codec(), kPath, request_of(""));
  const Asked base64 = asked(codec(), kPath, request_of("base64"));
  const auto got = [&](const Asked& request, std::string_view embedding) {
    const std::string text = response(
        codec(), request, outputs(codec(), request.key, call_rows(request), answer_of(embedding)));
    const size_t begin = text.find(R"("embedding":)", 40) + 12;
    return text.substr(begin, text.find("}]", begin) - begin);
  };
  CHECK(got(decimals, "[ 1.00, 5e-1 ,-2]") == "[ 1.00, 5e-1 ,-2]");
  CHECK(got(base64, "[ 1.00, 5e-1 ,-2]") == kBase64);
  CHECK(got(base64, kBase64) == kBase64);
  CHECK(got(decimals, kBase64) == "[1,0.5,-2]");
  // A slash may be escaped in JSON; 0.1 is the shortest decimal of its float32; the nearest
  // float32 of a decimal is not that of the double in between.
  CHECK(got(base64, R"("\/\/\/\/\/w==")") == R"("/////w==")");
  CHECK(got(decimals, R"("zczMPQ==")") == "[0.1]");
  CHECK(got(base64, "[1.000000178813934326171875]") == got(base64, "[1.0000002]"));
}

TEST_CASE("an answer is read by its indices") {
  const Asked request = asked(codec(), kPath, R"({"model":"m","input":["a","b"]})");
  const std::vector<CallRow> rows = call_rows(request);
  const std::vector<Output> got = outputs(
      codec(), request.key, rows,
      R"({"object":"list","data":[{"index":1,"object":"embedding","embedding":[2],"x":{"y":[]}},)"
      R"({"embedding":[1.0],"index":0}],"id":"i7","model":"big","created":5,)"
      R"("usage":{"prompt_tokens":9,"total_tokens":9}})");
  CHECK(response(codec(), request, got) ==
        R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]},)"
        R"({"object":"embedding","index":1,"embedding":[2]}],"model":"big","id":"i7","created":5,)"
        R"("usage":{"prompt_tokens":9,"total_tokens":9}})");
}

TEST_CASE("a wrong count, order or shape is an error") {
  const Asked request = asked(codec(), kPath, R"({"model":"m","input":["a","b"]})");
  const std::vector<CallRow> rows = call_rows(request);
  const std::string a = R"({"index":0,"embedding":[1]})";
  const std::string b = R"({"index":1,"embedding":[1]})";
  for (const std::string& data : {a,
                                  a + "," + a,
                                  a + "," + b + "," + b,
                                  a + R"(,{"index":2,"embedding":[1]})",
                                  a + R"(,{"index":-1,"embedding":[1]})",
                                  a + R"(,{"index":1.0,"embedding":[1]})",
                                  a + R"(,{"embedding":[1]})",
                                  a + R"(,{"index":1})",
                                  a + R"(,{"index":1,"embedding":[]})",
                                  a + R"(,{"index":1,"embedding":[1,null]})",
                                  a + R"(,{"index":1,"embedding":[[1]]})",
                                  a + R"(,{"index":1,"embedding":["1"]})",
                                  a + R"(,{"index":1,"embedding":[01]})",
                                  a + R"(,{"index":1,"embedding":[1e999]})",
                                  a + R"(,{"index":1,"embedding":[1,]})",
                                  a + R"(,{"index":1,"embedding":[1.]})",
                                  a + R"(,{"index":1,"embedding":[-]})",
                                  a + R"(,{"index":1,"embedding":"AAA"})",
                                  a + R"(,{"index":1,"embedding":"AAAA"})",
                                  a + R"(,{"index":1,"embedding":"AA*APw=="})",
                                  a + R"(,{"index":1,"embedding":""})",
                                  a + R"(,{"index":1,"embedding":{}})",
                                  a + R"(,{"index":1,"embedding":null})",
                                  a + R"(,{"index":1,"index":1,"embedding":[1]})",
                                  a + ",7",
                                  a + b,
                                  a + R"(,{"index":1,"embedding":[1],"embedding":[1]})"}) {
    check_wrong(codec(), rows, R"({"data":[)" + data + "]}");
  }
  const std::string both = "[" + a + "," + b + "]";
  for (const std::string& body :
       {std::string(), std::string("{}"), std::string(R"({"error":{"message":"no"}})"),
        R"({"data":)" + both, R"({"data":)" + both + "}x",
        R"({"data":)" + both + R"(,"x":"\ud800"})",
        R"({"data":)" + both + R"(,"data":)" + both + "}",
        R"({"data":)" + both + R"(,"x":1,"x":1})", R"({"data":)" + both + R"(,"x":{"a":1,"a":1}})",
        R"({"data":)" + both + ",\"x\":\"\xff\"}", "[" + both + "]", R"({"data":)" + both + ",}"}) {
    check_wrong(codec(), rows, body);
  }
}

TEST_CASE("usage is shared out exactly, and everybody has some of it") {
  std::vector<Asked> all;
  for (const char* text : {"a", "a much longer text than the others", "b"})
    all.push_back(
        asked(codec(), kPath, R"({"model":"m","input":[")" + std::string(text) + R"(","c"]})"));
  const std::vector<CallRow> rows = call_rows(all);
  std::string data;
  for (size_t i = 0; i < rows.size(); ++i)
    data += (i > 0 ? "," : "") + (R"({"embedding":[1],"index":)" + std::to_string(i) + "}");
  for (const uint32_t total : {0u, 1u, 2u, 3u, 4u, 7u, 1000u, 4294967295u}) {
    const std::vector<Output> got = outputs(
        codec(), all[0].key, rows,
        R"({"data":[)" + data + R"(],"usage":{"total_tokens":)" + std::to_string(total) + "}}");
    uint64_t sum = 0;
    for (size_t i = 0; i < got.size(); i += 2) {
      const uint64_t share = uint64_t{got[i].tokens} + got[i + 1].tokens;
      if (total >= 3) CHECK(share >= 1);
      sum += share;
    }
    CHECK(sum == total);
    if (total == 1000) CHECK(got[2].tokens > got[0].tokens * 3);
  }
}

TEST_CASE("an engine's vectors are written shortest, cut and scaled where that was asked") {
  const Asked plain = asked(codec(), kPath, R"({"model":"m\"","input":"a"})");
  const std::vector<Output> vector = {floats({0.1F, -2.0F})};
  CHECK(response(codec(), plain, vector) ==
        R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2]}],)"
        R"("model":"m\"","usage":{"prompt_tokens":0,"total_tokens":0}})");
  const Asked cut = asked(codec(), kPath, R"({"model":"m","input":"a","dimensions":2})");
  CHECK(response(codec(), cut, std::vector{floats({3.0F, 4.0F, 12.0F})}).find("[0.6,0.8]") !=
        std::string::npos);
  // What an upstream gave has been cut already.
  CHECK(response(codec(), cut, std::vector{json_output("[3,4]")}).find("[3,4]") !=
        std::string::npos);
}

TEST_CASE("what is no vector gives no response") {
  const Asked request = asked(codec(), kPath, R"({"model":"m","input":"a"})");
  for (const char* text :
       {"7", R"(["1"])", "[[1]]", "[null]", "[true]", R"([{"a":1}])", R"("x")", "{}", "null"}) {
    const std::vector<Output> outputs = {json_output(text)};
    const Result<Body> body =
        codec().write_response(request, {.outputs = outputs, .tokens = 0, .labels = {}});
    REQUIRE(!body.ok());
    CHECK(body.error().code == Code::kUpstream);
  }
}

}  // namespace
}  // namespace sluice
