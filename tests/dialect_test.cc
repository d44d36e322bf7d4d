// SPDX-License-Identifier: Apache-2.0
// What holds for all dialects, and how they meet.
#include "backends/dialect.h"

#include "backends/dialect_cohere.h"
#include "backends/dialect_openai.h"
#include "backends/dialect_tei.h"
#include "base/json.h"
#include "tests/codec_harness.h"

namespace sluice {
namespace {

TEST_CASE("a path fits its pattern, and what stands for a hole is captured decoded") {
  std::vector<std::string> captures = {"old"};
  CHECK(match_path("/v1/embeddings", "/v1/embeddings", &captures));
  CHECK(captures.empty());
  CHECK(!match_path("/v1/embeddings", "/v1/embeddings/"));
  CHECK(!match_path("/v1/embeddings", "/v1/embedding"));
  CHECK(match_path("/v2/models/{}/infer", "/v2/models/a%2Fb%zz/infer", &captures));
  CHECK(captures == std::vector<std::string>{"a/b%zz"});
  CHECK(match_path("/v2/models/{}/versions/{}/infer", "/v2/models/m/versions/7/infer", &captures));
  CHECK(captures == std::vector<std::string>{"m", "7"});
  CHECK(match_path("/v1/models/{}:predict", "/v1/models/a:b:predict", &captures));
  CHECK(captures == std::vector<std::string>{"a:b"});
  CHECK(!match_path("/v1/models/{}:predict", "/v1/models/:predict"));
  CHECK(!match_path("/v2/models/{}/infer", "/v2/models//infer"));
  CHECK(!match_path("/v2/models/{}/infer", "/v2/models/a/b/infer"));
  CHECK(!match_path("/v2/models/{}/infer", "/v2/models/a/infer/"));
  CHECK(!match_path("/v2/models/{}/infer", "/v2/models/a"));
}

TEST_CASE("dialects are found by their names") {
  for (const std::string_view name :
       {"openai", "tei", "cohere", "kserve-v1", "oip-v2", "oip-v2-json"}) {
    const Dialect* dialect = find_dialect(name);
    REQUIRE(dialect != nullptr);
    CHECK(dialect->name() == name);
    CHECK(dialect_names().find(name) != std::string::npos);
  }
  CHECK(find_dialect("json") == nullptr);
  CHECK(find_dialect("") == nullptr);
}

TEST_CASE("every error body is an object with the keys of its dialect") {
  const Error error{.code = Code::kOverloaded, .message = "too \"much\""};
  const std::pair<std::string_view, std::vector<std::string_view>> wanted[] = {
      {"openai", {"error"}},
      {"tei", {"error", "error_type", "message", "code"}},
      {"cohere", {"message"}}};
  for (const auto& [name, keys] : wanted) {
    for (const std::string_view id : {"", "req-1"}) {
      const Slice body = Slice::copy_of(find_dialect(name)->write_error(error, id));
      const Result<JsonView> json = parse_json(body);
      REQUIRE(json.ok());
      for (const std::string_view key : keys) CHECK(json.value().member(key));
      CHECK((body.view().find("req-1") != std::string_view::npos) == !id.empty());
    }
  }
  CHECK(find_dialect("tei")->write_error({.code = Code::kInvalid, .message = "m"}, "") ==
        R"({"error":"m","error_type":"Validation","message":"m","code":400})");
  CHECK(find_dialect("cohere")->write_error({.message = "m"}, "i") ==
        R"({"id":"i","message":"m"})");
}

// One request of each client, asked of another protocol.
struct Meeting {
  const Codec& client;
  std::string_view target;
  std::string_view body;
  const Codec& upstream;
  std::string_view call_target;
  std::string_view call;   // empty: the call cannot be said
  std::string_view param;  // then, the parameter at fault
  std::string_view answer = "";
  std::string_view response = "";
};

TEST_CASE("any dialect meets any other one of the same operation") {
  const Codec& openai = openai::embeddings_codec();
  const Codec& embed = tei::embed_codec();
  const Codec& rank = cohere::rerank_codec();
  const Codec& tei_rank = tei::rerank_codec();
  const Codec& classify = cohere::classify_codec();
  const Codec& predict = tei::predict_codec();
  const Meeting meetings[] = {
      {openai, "/v1/embeddings", R"({"model":"m","input":["a","b"],"dimensions":2,"user":"u"})",
       embed, "/embed", R"({"inputs":["a","b"],"dimensions":2})", "", "[[1,2.50],[3,4]]",
       R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,2.50]},)"
       R"({"object":"embedding","index":1,"embedding":[3,4]}],"model":"m",)"
       R"("usage":{"prompt_tokens":0,"total_tokens":0}})"},
      {embed, "/embed", R"({"inputs":"a","normalize":true,"truncate":false})", openai,
       "/v1/embeddings", R"({"input":["a"],"encoding_format":"float"})", "",
       R"({"data":[{"index":0,"embedding":[0.10]}],"usage":{"total_tokens":3}})", "[[0.10]]"},
      {embed, "/embed", R"({"inputs":"a","normalize":false})", openai, "", "", "normalize"},
      {embed, "/embed", R"({"inputs":"a","truncate":true})", openai, "", "", "truncate"},
      {embed, "/embed", R"({"inputs":"a","prompt_name":"q"})", openai, "", "", "prompt_name"},
      {embed, "/embed", R"({"inputs":"a","mine":1})", openai, "", "", "mine"},
      {openai, "/v1/embeddings", R"({"model":"m","input":"a","mine":1})", embed, "", "", "mine"},
      {rank, "/v1/rerank", R"({"model":"m","query":"q","documents":["a",{"text":"b","n":1}]})",
       tei_rank, "/rerank", R"({"query":"q","texts":["a","b"]})", "",
       R"([{"index":1,"score":0.9},{"index":0,"score":0.50}])",
       R"({"object":"rerank","model":"m","results":[{"index":1,"relevance_score":0.9},)"
       R"({"index":0,"relevance_score":0.50}],"meta":{"api_version":{"version":"1"},)"
       R"("billed_units":{"search_units":1}}})"},
      {tei_rank, "/rerank", R"({"query":"q","texts":["a","b"],"return_text":true})", rank,
       "/rerank", R"({"query":"q","documents":["a","b"],"return_documents":false})", "",
       R"({"results":[{"index":0,"relevance_score":1},{"index":1,"relevance_score":2}]})",
       R"([{"index":1,"text":"b","score":2},{"index":0,"text":"a","score":1}])"},
      {tei_rank, "/rerank", R"({"query":"q","texts":["a"],"truncate":false})", rank, "", "",
       "truncate"},
      {classify, "/classify", R"({"input":["a"],"raw_scores":true})", predict, "/predict",
       R"({"inputs":[["a"]],"raw_scores":true})", "", R"([[{"score":0.9,"label":"x"}]])",
       R"({"object":"classify","data":[[{"score":0.9,"label":"x"}]],)"
       R"("usage":{"prompt_tokens":0,"total_tokens":0}})"},
      {predict, "/predict", R"({"inputs":"a","truncate":true})", classify, "/classify",
       R"({"input":["a"]})", "", R"({"data":[[{"label":"x","score":1}]]})",
       R"([{"label":"x","score":1}])"},
      {predict, "/predict", R"({"inputs":["a","b"]})", classify, "", "", "inputs"},
  };
  for (const Meeting& meeting : meetings) {
    CAPTURE(meeting.body);
    const Asked request = asked(meeting.client, meeting.target, meeting.body);
    const std::vector<CallRow> rows = call_rows(request);
    const Result<CallRequest> call = meeting.upstream.write_call(request.key, rows);
    if (meeting.call.empty()) {
      REQUIRE(!call.ok());
      CHECK(call.error().code == Code::kInvalid);
      CHECK(call.error().param == meeting.param);
      continue;
    }
    REQUIRE(call.ok());
    CHECK(call.value().target == meeting.call_target);
    CHECK(text_of(call.value().body) == meeting.call);
    const std::vector<Output> got = outputs(meeting.upstream, request.key, rows, meeting.answer);
    CHECK(response(meeting.client, request, got) == meeting.response);
  }
}

}  // namespace
}  // namespace sluice
