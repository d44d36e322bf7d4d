// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_tei.h"

#include <cmath>

#include "backends/dialect_openai.h"
#include "base/json.h"
#include "tests/codec_harness.h"

namespace sluice::tei {
namespace {

TEST_CASE("/embed takes all forms of inputs and says its parameters as they came") {
  const Codec& codec = embed_codec();
  const Asked mixed = asked(
      codec, "/embed",
      R"({"inputs":["a",[1,2]],"truncation_direction":"Left","normalize":false,"prompt_name":null,)"
      R"("truncate":true,"dimensions":2})");
  CHECK(mixed.rows.size() == 2);
  CHECK(mixed.key.codec.empty());
  const Result<CallRequest> call = codec.write_call(mixed.key, call_rows(mixed));
  REQUIRE(call.ok());
  CHECK(call.value().target == "/embed");
  CHECK(text_of(call.value().body) ==
        R"({"inputs":["a",[1,2]],"dimensions":2,"normalize":false,"truncate":true,)"
        R"("truncation_direction":"Left"})");
  CHECK(asked(codec, "/embed", R"({"inputs":[1,2]})").rows.size() == 1);
  CHECK(asked(codec, "/embed", R"({"inputs":"a"})").rows.size() == 1);
  CHECK(asked(codec, "/embed", R"({"inputs":"a","x":1})").key.codec == "tei.embed");
}

TEST_CASE("/embed answers two levels of arrays, byte for byte") {
  const Codec& codec = embed_codec();
  const Asked one = asked(codec, "/embed", R"({"inputs":"a"})");
  const Asked two = asked(codec, "/embed", R"({"inputs":["b","c"]})");
  const std::vector<Asked> all = {one, two};
  const Header tokens[] = {{"X-Compute-Tokens", "11"}};
  const std::vector<Output> got =
      outputs(codec, one.key, call_rows(all), "[[1.0, 2],[3e0],[-4]]", tokens);
  const std::span<const Output> span(got);
  CHECK(response(codec, one, span.first(1)) == "[[1.0, 2]]");
  CHECK(response(codec, two, span.last(2)) == "[[3e0],[-4]]");
  CHECK(got[0].tokens + got[1].tokens + got[2].tokens == 11);
  CHECK(response(codec, one, std::vector{floats({0.5F})}) == "[[0.5]]");
  for (const char* wrong : {"[[1],[2]]", "[[1],[2],[3],[4]]", "[[1],[2],3]", "[[1],[2],[[3]]]",
                            R"({"error":"no"})", "", "[[1],[2],[3]] x", "[[1],[2],[3]"})
    check_wrong(codec, call_rows(all), wrong);
}

TEST_CASE("errors name the field, and the item") {
  check_refused(embed_codec(), "/embed", R"({"input":"a"})", "inputs");
  check_refused(embed_codec(), "/embed", R"({"inputs":["a",{}]})", "inputs", "inputs[1]");
  check_refused(embed_codec(), "/embed", R"({"inputs":[]})", "inputs");
  check_refused(embed_codec(), "/embed", R"({"inputs":"a","truncate":1})", "truncate");
  check_refused(embed_codec(), "/embed", R"({"inputs":"a","truncation_direction":"up"})",
                "truncation_direction");
  check_refused(embed_codec(), "/embed", R"({"inputs":"a","prompt_name":1})", "prompt_name");
  check_refused(rerank_codec(), "/rerank", R"({"query":"q","texts":["a",1]})", "texts", "texts[1]");
  check_refused(rerank_codec(), "/rerank", R"({"query":"q","texts":[]})", "texts");
  check_refused(rerank_codec(), "/rerank", R"({"query":"q"})", "texts");
  check_refused(rerank_codec(), "/rerank", R"({"texts":["a"]})", "query");
  check_refused(rerank_codec(), "/rerank", R"({"query":1,"texts":["a"]})", "query");
  check_refused(rerank_codec(), "/rerank", R"({"query":"q","texts":["a"],"return_text":1})",
                "return_text");
  check_refused(predict_codec(), "/predict", R"({"inputs":["a","b","c"]})", "inputs");
  check_refused(predict_codec(), "/predict", R"({"inputs":[]})", "inputs");
  check_refused(predict_codec(), "/predict", R"({"inputs":[["a"],["b",1]]})", "inputs",
                "inputs[1][1]");
  check_refused(predict_codec(), "/predict", R"({"inputs":[["a"],"b"]})", "inputs", "inputs[1]");
  check_refused(predict_codec(), "/predict", R"({"inputs":[["a"],[]]})", "inputs", "inputs[1]");
}

TEST_CASE("/embed_sparse gives lists of index and value") {
  const Codec& codec = sparse_codec();
  const Asked request = asked(codec, "/embed_sparse", R"({"inputs":["a","b"]})");
  const std::vector<CallRow> rows = call_rows(request);
  CHECK(call_text(codec, request.key, rows) == R"({"inputs":["a","b"]})");
  const std::string answer = R"([[{"index":7,"value":0.50}],[]])";
  CHECK(response(codec, request, outputs(codec, request.key, rows, answer)) == answer);
  check_wrong(codec, rows, R"([[{"index":7,"value":0.5}],[{"index":7}]])");
  check_wrong(codec, rows, R"([[{"index":-1,"value":0.5}],[]])");
  check_wrong(codec, rows, "[[1],[]]");
  check_wrong(codec, rows, "[{},[]]");
  const Result<Body> engine = codec.write_response(
      request, {.outputs = std::vector{floats({1}), floats({2})}, .tokens = 0, .labels = {}});
  CHECK(!engine.ok());
}

TEST_CASE("/rerank is sorted by score, the texts as they came") {
  const Codec& codec = rerank_codec();
  const Asked request =
      asked(codec, "/rerank",
            R"({"query":"q\u0041","texts":["a","b\n","c"],"raw_scores":true,"return_text":true})");
  const std::vector<CallRow> rows = call_rows(request);
  CHECK(call_text(codec, request.key, rows) ==
        R"({"query":"q\u0041","texts":["a","b\n","c"],"raw_scores":true})");
  const std::vector<Output> got = outputs(
      codec, request.key, rows,
      R"([{"index":1,"score":-3.20},{"score":10,"index":2},{"index":0,"score":9.5,"text":"a"}])");
  CHECK(response(codec, request, got) ==
        R"([{"index":2,"text":"c","score":10},{"index":0,"text":"a","score":9.5},)"
        R"({"index":1,"text":"b\n","score":-3.20}])");
  for (const char* wrong :
       {R"([{"index":1,"score":1},{"index":2,"score":1}])",
        R"([{"index":1,"score":1},{"index":2,"score":1},{"index":1,"score":1}])",
        R"([{"index":1,"score":1},{"index":2,"score":1},{"index":3,"score":1}])",
        R"([{"index":1,"score":1},{"index":2,"score":1},{"index":0,"score":"1"}])",
        R"([{"index":1,"score":1},{"index":2,"score":1},{"index":0}])",
        R"([{"index":1,"score":1},{"index":2,"score":1},{"score":1}])"})
    check_wrong(codec, rows, wrong);
  const Asked bare = asked(codec, "/rerank", R"({"query":"q","texts":["a","b"]})");
  CHECK(response(codec, bare, std::vector{floats({0.25F}), floats({0.5F})}) ==
        R"([{"index":1,"score":0.5},{"index":0,"score":0.25}])");
}

TEST_CASE("/predict answers one text or pair flat, and a batch in order") {
  const Codec& codec = predict_codec();
  const Asked single = asked(codec, "/predict", R"({"inputs":"a","raw_scores":true})");
  const Asked wrapped = asked(codec, "/predict", R"({"inputs":["a"],"raw_scores":true})");
  const Asked pair = asked(codec, "/predict", R"({"inputs":["a","b"],"raw_scores":true})");
  const Asked batch = asked(codec, "/predict", R"({"raw_scores":true,"inputs":[["a"],["b","c"]]})");
  CHECK(wrapped.rows[0].wire.view() == R"("a")");
  CHECK(single.key.encode() == batch.key.encode());
  const std::vector<Asked> all = {single, pair, batch};
  const std::vector<CallRow> rows = call_rows(all);
  CHECK(call_text(codec, single.key, rows) ==
        R"({"inputs":[["a"],["a","b"],["a"],["b","c"]],"raw_scores":true})");
  const std::vector<Output> got = outputs(
      codec, single.key, rows,
      R"([[{"score":0.9,"label":"x"},{"score":0.10,"label":"y"}],)"
      R"([{"label":"y","score":1}],[{"score":0.5,"label":"x"}],[{"score":2,"label":"z"}]])");
  const std::span<const Output> span(got);
  CHECK(response(codec, single, span.first(1)) ==
        R"([{"score":0.9,"label":"x"},{"score":0.10,"label":"y"}])");
  CHECK(response(codec, batch, span.last(2)) ==
        R"([[{"score":0.5,"label":"x"}],[{"score":2,"label":"z"}]])");
  const std::vector<std::string> labels = {"no", "y\"es"};
  CHECK(response(codec, single, std::vector{floats({0.25F, 0.75F})}, labels) ==
        R"([{"score":0.75,"label":"y\"es"},{"score":0.25,"label":"no"}])");
  const std::vector<Output> wrong = {floats({0.25F})};
  CHECK(!codec.write_response(single, {.outputs = wrong, .tokens = 0, .labels = labels}).ok());
  const std::vector<Output> infinite = {floats({0.25F, INFINITY})};
  CHECK(!codec.write_response(single, {.outputs = infinite, .tokens = 0, .labels = labels}).ok());
  check_wrong(codec, call_rows(single), R"([{"score":0.9,"label":"x"}])");
  check_wrong(codec, call_rows(single), R"([[{"score":0.9,"label":7}]])");
  check_wrong(codec, call_rows(single), R"([[{"score":"0.9","label":"x"}]])");
}

TEST_CASE("OpenAI's embeddings are spoken as OpenAI speaks them") {
  size_t found = 0;
  for (const CodecRoute& route : tei_dialect().routes()) {
    if (match_path(route.pattern, "/v1/embeddings") || match_path(route.pattern, "/embeddings"))
      found += route.codec == &openai::embeddings_codec() ? 1 : 0;
  }
  CHECK(found == 2);
  CHECK(tei_dialect().upstream_codec(Operation::kEmbed) == &embed_codec());
  CHECK(tei_dialect().upstream_codec(Operation::kInfer) == nullptr);
}

TEST_CASE("what a server tells of itself is JSON with its name and limits") {
  const Slice body = Slice::copy_of(
      write_info({.model = "a\"b", .type = "reranker", .client_batch_items_max = 7}));
  const Result<JsonView> info = parse_json(body);
  REQUIRE(info.ok());
  CHECK(info.value().member("model_id")->text() == "a\"b");
  CHECK(info.value().member("max_client_batch_size")->integer() == 7);
  CHECK(info.value().member("model_type")->member("reranker"));
  CHECK(parse_json(Slice::copy_of(write_info("m"))).ok());
}

}  // namespace
}  // namespace sluice::tei
