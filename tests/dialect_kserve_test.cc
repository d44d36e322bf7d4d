// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_kserve.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/codec_calls.h"

namespace sluice {
namespace {

using calls::text_of;

constexpr const char* kPath = "/v1/models/a%20b:predict";

const Codec& codec(Operation operation = Operation::kPredict) {
  return *kserve_dialect().upstream_codec(operation);
}

Asked read(std::string_view body) {
  Result<Asked> asked = codec().read_request(calls::post(kPath), Slice::copy_of(body));
  REQUIRE(asked.ok());
  return std::move(asked).value();
}

std::string call_text(const std::vector<Asked>& requests) {
  const auto call = codec().write_call(requests.front().key, calls::rows_of(requests));
  REQUIRE(call.ok());
  CHECK(call.value().target == kPath);
  return text_of(call.value().body);
}

std::string answer_text(const Asked& request, const std::vector<Output>& outputs) {
  const auto body = codec().write_response(request, {.outputs = outputs, .labels = {}});
  REQUIRE(body.ok());
  return text_of(body.value());
}

// A key of another protocol's client.
CallKey foreign(Operation operation, std::vector<std::pair<std::string, std::string>> params = {}) {
  return {.operation = operation,
          .codec = {},
          .target = "/v1/embeddings",
          .model = "m/1",
          .params = std::move(params),
          .headers = {}};
}

TEST_CASE("instances are joined, and predictions given back with what stands beside them") {
  const std::vector<Asked> requests = {read(R"({"instances":[ 1.50, {"b":[1, 2]} ]})"),
                                       read(R"( {"instances":["\u00e9"]} )")};
  CHECK(requests[0].key.encode() == requests[1].key.encode());
  CHECK(requests[0].key.model == "a b");
  CHECK(requests[0].key.codec.empty());
  CHECK(call_text(requests) == R"({"instances":[1.50,{"b":[1, 2]},"\u00e9"]})");
  auto outcomes = codec().read_call(
      requests[0].key, calls::rows_of(requests),
      {.headers = {},
       .body = Slice::copy_of(R"({ "id": 7, "predictions": [[1], 2e0, null], "m": {"v":1} })")});
  REQUIRE(outcomes.ok());
  CHECK(answer_text(requests[0], calls::take_outputs(outcomes.value(), 2)) ==
        R"({ "id": 7, "predictions": [[1],2e0], "m": {"v":1} })");
  CHECK(answer_text(requests[1], calls::take_outputs(outcomes.value(), 1)) ==
        R"({ "id": 7, "predictions": [null], "m": {"v":1} })");
  CHECK(answer_text(requests[0], {Output(Slice::copy_of("1"), Form::kJson)}) ==
        R"({"predictions":[1]})");
  const auto bad = codec().write_response(
      requests[0],
      {.outputs = std::vector{Output(Slice::copy_of("1"), Form::kBytes)}, .labels = {}});
  REQUIRE(!bad.ok());
  CHECK(bad.error().code == Code::kUpstream);
}

TEST_CASE("other members are in the key and in the call") {
  const Asked with = read(R"({"signature_name":"s","instances":[1],"a":{"b": 2}})");
  CHECK(with.key.encode() ==
        read(R"({"instances":[9],"a":{"b": 2},"signature_name":"s"})").key.encode());
  CHECK(with.key.encode() !=
        read(R"({"signature_name":"t","instances":[1],"a":{"b": 2}})").key.encode());
  CHECK(with.key.encode() != read(R"({"instances":[1]})").key.encode());
  CHECK(call_text({with}) == R"({"instances":[1],"a":{"b": 2},"signature_name":"s"})");
}

TEST_CASE("the column form, no instances and too many pass through") {
  CHECK(read(R"({"inputs":{"a":[1]}})").pass_through);
  CHECK(read(R"({"inputs":[[1],[2]]})").pass_through);
  CHECK(read(R"({"instances":[]})").pass_through);
  std::string many = R"({"instances":[1)";
  for (int i = 1; i < 16'384; ++i) many += ",1";
  CHECK(read(many + "]}").rows.size() == 16'384);
  CHECK(read(many + ",1]}").pass_through);
}

TEST_CASE("what is wrong is refused by the name of its field") {
  const auto refused = [](std::string_view body, std::string_view param) {
    CAPTURE(body);
    calls::check_invalid(codec().read_request(calls::post(kPath), Slice::copy_of(body)), param);
  };
  refused("", "");
  refused("[1]", "");
  refused(R"({"instances":[1],"instances":[2]})", "");
  refused(R"({"instances":["\ud800"]})", "");
  refused("{}", "instances");
  refused(R"({"instances":1})", "instances");
  refused(R"({"instances":{"a":1}})", "instances");
  refused(R"({"instances":[1],"inputs":[1]})", "inputs");
}

TEST_CASE("an answer of another count or shape is an error") {
  const Asked asked = read(R"({"instances":[1,2]})");
  for (const char* body :
       {"", "[1,2]", "{}", R"({"predictions":{"a":1}})", R"({"predictions":[1]})",
        R"({"predictions":[1,2,3]})", R"({"predictions":[1,2]}x)", R"({"error":"no"})"}) {
    calls::check_wrong_answer(codec(), asked.key, calls::rows_of({asked}), body);
  }
}

TEST_CASE("it is asked for vectors and classes, at the path of the model") {
  const std::vector<CallRow> rows = {
      {.request = 1, .index = 0, .payload = {}, .wire = Slice::copy_of(R"("a")")},
      {.request = 2, .index = 0, .payload = {}, .wire = Slice::copy_of(R"("b")")}};
  const Codec& embed = codec(Operation::kEmbed);
  const auto call = embed.write_call(foreign(Operation::kEmbed, {{"normalize", "true"}}), rows);
  REQUIRE(call.ok());
  CHECK(call.value().target == "/v1/models/m%2F1:predict");
  CHECK(text_of(call.value().body) == R"({"instances":["a","b"]})");
  auto vectors = embed.read_call(
      {}, rows, {.headers = {}, .body = Slice::copy_of(R"({"predictions":[[0.10],[2,3]]})")});
  REQUIRE(vectors.ok());
  CHECK(vectors.value()[0].value().bytes.view() == "[0.10]");
  CHECK(vectors.value()[0].value().form == Form::kJson);
  for (const char* body : {R"({"predictions":[[1],"a"]})", R"({"predictions":[[1],[]]})",
                           R"({"predictions":[[1],[[1]]]})", R"({"predictions":[[1],[null]]})"}) {
    calls::check_wrong_answer(embed, {}, rows, body);
  }
  const Codec& classify = codec(Operation::kClassify);
  auto classes = classify.read_call(
      {}, rows,
      {.headers = {},
       .body = Slice::copy_of(R"({"predictions":[{"label":"x","score":1},)"
                              R"([{"label":"x","score":0.1},{"score":0.90,"label":"y"}]]})")});
  REQUIRE(classes.ok());
  CHECK(classes.value()[0].value().bytes.view() == R"([{"label":"x","score":1}])");
  CHECK(classes.value()[1].value().bytes.view() ==
        R"([{"score":0.90,"label":"y"},{"label":"x","score":0.1}])");
  for (const char* body : {R"({"predictions":[[],[]]})", R"({"predictions":[1,2]})",
                           R"({"predictions":[{"label":1,"score":1},{"label":"a","score":1}]})",
                           R"({"predictions":[{"label":"a"},{"label":"a","score":1}]})"}) {
    calls::check_wrong_answer(classify, {}, rows, body);
  }
}

TEST_CASE("what it cannot say is refused by the parameter's name") {
  const auto refused = [](Operation operation, CallKey key, std::string_view param) {
    const auto call = codec(operation).write_call(key, {});
    REQUIRE(!call.ok());
    CHECK(call.error().code == Code::kInvalid);
    CHECK(call.error().param == param);
  };
  refused(Operation::kEmbed, foreign(Operation::kEmbed, {{"normalize", "false"}}), "normalize");
  refused(Operation::kEmbed, foreign(Operation::kEmbed, {{"dimensions", "8"}}), "dimensions");
  refused(Operation::kClassify, foreign(Operation::kClassify, {{"raw_scores", "true"}}),
          "raw_scores");
  CallKey nameless = foreign(Operation::kEmbed);
  nameless.model.clear();
  refused(Operation::kEmbed, nameless, "model");
  CallKey other = foreign(Operation::kPredict, {{"body", "{}"}});
  other.codec = "json.predict";
  refused(Operation::kPredict, other, "body");
  CHECK(kserve_dialect().upstream_codec(Operation::kInfer) == nullptr);
  CHECK(kserve_dialect().write_error({.code = Code::kInvalid, .message = "m"}, "") ==
        R"({"error":"m"})");
}

}  // namespace
}  // namespace sluice
