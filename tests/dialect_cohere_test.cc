// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_cohere.h"

#include "tests/codec_harness.h"

namespace sluice::cohere {
namespace {

const Codec& codec() { return rerank_codec(); }

TEST_CASE("documents are texts or objects with one") {
  const Asked request =
      asked(codec(), "/v1/rerank",
            R"({"model":"m","query":"q","documents":["a",{"text":"b"}],"top_n":1})");
  CHECK(request.rows.size() == 2);
  CHECK(request.rows[1].wire.view() == R"({"text":"b"})");
  const Result<CallRequest> call = codec().write_call(request.key, call_rows(request));
  REQUIRE(call.ok());
  CHECK(call.value().target == "/v1/rerank");
  CHECK(text_of(call.value().body) ==
        R"({"model":"m","query":"q","documents":["a",{"text":"b"}],"return_documents":false})");
}

TEST_CASE("version 2 is not asked for what it does not know, others keep what is their own") {
  const Asked request =
      asked(codec(), "/v2/rerank",
            R"({"model":"m","query":"q","documents":["a"],"max_tokens_per_doc":9})");
  const Result<CallRequest> call = codec().write_call(request.key, call_rows(request));
  REQUIRE(call.ok());
  CHECK(call.value().target == "/v2/rerank");
  CHECK(text_of(call.value().body) ==
        R"({"model":"m","query":"q","documents":["a"],"max_tokens_per_doc":9})");
  CHECK(request.key.codec == "cohere.rerank");
}

TEST_CASE("errors name the field, and the item") {
  const std::string_view path = "/v1/rerank";
  check_refused(codec(), path, R"({"query":"q"})", "documents");
  check_refused(codec(), path, R"({"query":"q","documents":[]})", "documents");
  check_refused(codec(), path, R"({"query":"q","documents":"a"})", "documents");
  check_refused(codec(), path, R"({"query":"q","documents":["a",{"x":1}]})", "documents",
                "documents[1]");
  check_refused(codec(), path, R"({"query":"q","documents":["a",{"text":1}]})", "documents",
                "documents[1]");
  check_refused(codec(), path, R"({"documents":["a"]})", "query");
  check_refused(codec(), path, R"({"query":["q"],"documents":["a"]})", "query");
  check_refused(codec(), path, R"({"query":"q","documents":["a"],"top_n":0})", "top_n");
  check_refused(codec(), path, R"({"query":"q","documents":["a"],"top_n":"1"})", "top_n");
  check_refused(codec(), path, R"({"query":"q","documents":["a"],"return_documents":1})",
                "return_documents");
  check_refused(codec(), path, R"({"query":"q","documents":["a"],"model":1})", "model");
  check_refused(codec(), path, R"({"query":"q","documents":["a"],"raw_scores":1})", "raw_scores");
  check_refused(classify_codec(), "/classify", R"({"input":"a"})", "input");
  check_refused(classify_codec(), "/classify", R"({"input":["a",["b"]]})", "input", "input[1]");
  check_refused(classify_codec(), "/classify", R"({})", "input");
}

TEST_CASE("results are sorted, cut to top_n, and have their documents if those were asked for") {
  const Asked request = asked(codec(), "/v1/rerank",
                              R"({"query":"q","documents":["a",{"text":"b","n":1},"c"],"top_n":2,)"
                              R"("return_documents":true})");
  const std::vector<CallRow> rows = call_rows(request);
  const std::vector<Output> got =
      outputs(codec(), request.key, rows,
              R"({"id":"i","results":[{"index":1,"relevance_score":0.90},{"index":0,)"
              R"("relevance_score":0.1},{"index":2,"relevance_score":0.5}],"meta":{"x":1}})");
  CHECK(response(codec(), request, got) ==
        R"({"id":"i","meta":{"x":1},"results":[{"index":1,"relevance_score":0.90,)"
        R"("document":{"text":"b","n":1}},{"index":2,"relevance_score":0.5,)"
        R"("document":{"text":"c"}}]})");
  check_wrong(codec(), rows, R"({"results":[{"index":1,"relevance_score":0.90}]})");
  check_wrong(codec(), rows, R"({"message":"no"})");
}

TEST_CASE("usage and model are the endpoint's, where it tells them") {
  const Asked request =
      asked(codec(), "/rerank", R"({"model":"m","query":"q","documents":["a","b"]})");
  const std::vector<Output> got =
      outputs(codec(), request.key, call_rows(request),
              R"({"object":"rerank","results":[{"index":0,"relevance_score":1,"document":null},)"
              R"({"index":1,"relevance_score":2}],"usage":{"prompt_tokens":3,"total_tokens":5},)"
              R"("model":"big"})");
  CHECK(response(codec(), request, got) ==
        R"({"model":"big","object":"rerank","results":[{"index":1,"relevance_score":2},)"
        R"({"index":0,"relevance_score":1}],"usage":{"prompt_tokens":5,"total_tokens":5}})");
}

TEST_CASE("an engine's scores make a whole answer") {
  const std::vector<Output> scores = {floats({0.25F}), floats({0.5F})};
  const Asked v2 =
      asked(codec(), "/v2/rerank", R"({"model":"m","query":"q","documents":["a","b"]})");
  CHECK(response(codec(), v2, scores) ==
        R"({"object":"rerank","model":"m","results":[{"index":1,"relevance_score":0.5},)"
        R"({"index":0,"relevance_score":0.25}],"meta":{"api_version":{"version":"2"},)"
        R"("billed_units":{"search_units":1}}})");
  const std::vector<Output> wrong = {floats({0.25F, 1}), floats({0.5F})};
  CHECK(!codec().write_response(v2, {.outputs = wrong, .tokens = 0, .labels = {}}).ok());
}

TEST_CASE("classify lists classes per text") {
  const Codec& classify = classify_codec();
  const Asked request =
      asked(classify, "/classify", R"({"model":"m","input":["a","b"],"raw_scores":false})");
  const std::vector<CallRow> rows = call_rows(request);
  CHECK(call_text(classify, request.key, rows) ==
        R"({"model":"m","input":["a","b"],"raw_scores":false})");
  const std::vector<Output> got =
      outputs(classify, request.key, rows,
              R"({"object":"classify","data":[[{"score":0.9,"label":"x"}],[]],"model":"n",)"
              R"("usage":{"prompt_tokens":4,"total_tokens":4},"id":"i","created":1})");
  CHECK(response(classify, request, got) ==
        R"({"model":"n","object":"classify","id":"i","created":1,)"
        R"("data":[[{"score":0.9,"label":"x"}],[]],"usage":{"prompt_tokens":4,"total_tokens":4}})");
  check_wrong(classify, rows, R"({"data":[[{"score":0.9,"label":"x"}]]})");
  check_wrong(classify, rows, R"({"data":[[],[],[]]})");
  const std::vector<std::string> labels = {"x", "y"};
  CHECK(response(classify, request, std::vector{floats({0, 1}), floats({1, 0})}, labels) ==
        R"({"object":"classify","model":"m","data":[[{"score":1,"label":"y"},)"
        R"({"score":0,"label":"x"}],[{"score":1,"label":"x"},{"score":0,"label":"y"}]],)"
        R"("usage":{"prompt_tokens":0,"total_tokens":0}})");
}

}  // namespace
}  // namespace sluice::cohere
