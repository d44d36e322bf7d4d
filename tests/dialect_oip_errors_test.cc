// SPDX-License-Identifier: Apache-2.0
// The Open Inference Protocol v2: what is wrong with a request or an answer is said by the name of
// its field, and nothing wrong is believed.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "backends/dialect_oip.h"
#include "backends/oip_rows.h"
#include "tests/codec_calls.h"

namespace sluice {
namespace {

using namespace std::string_literals;

constexpr std::string_view kLength = "Inference-Header-Content-Length";

const Codec& codec() { return *oip_dialect().upstream_codec(Operation::kInfer); }

void refused(const std::string& body, std::string_view param, std::string_view json_bytes = {}) {
  CAPTURE(body);
  std::vector<Header> headers;
  if (!json_bytes.empty()) headers.push_back({kLength, json_bytes});
  calls::check_invalid(
      codec().read_request(calls::post("/v2/models/m/infer", headers), Slice::copy_of(body)),
      param);
}

// A request of one input with these members.
std::string with(const std::string& members) { return R"({"inputs":[{)" + members + "}]}"; }

// The same, of a datatype and a shape.
std::string with(const std::string& type, const std::string& shape, const std::string& data) {
  return with(R"("name":"x","datatype":")" + type + R"(","shape":)" + shape + R"(,"data":)" + data);
}

bool accepted(const std::string& body) {
  return codec().read_request(calls::post("/v2/models/m/infer"), Slice::copy_of(body)).ok();
}

// A request with binary data of a size behind it.
void refused_binary(const std::string& type, const std::string& shape, size_t size,
                    const std::string& data, std::string_view param) {
  const std::string json =
      with(R"("name":"x","datatype":")" + type + R"(","shape":)" + shape +
           R"(,"parameters":{"binary_data_size":)" + std::to_string(size) + "}");
  refused(json + data, param, std::to_string(json.size()));
}

TEST_CASE("members that are missing or of the wrong type are named") {
  refused("", "");
  refused("[]", "");
  refused(R"({"inputs":[],"inputs":[]})", "");
  refused("{}", "inputs");
  refused(R"({"inputs":{}})", "inputs");
  refused(R"({"inputs":[]})", "inputs");
  refused(R"({"inputs":[1]})", "inputs[0]");
  refused(R"({"id":1,"inputs":[]})", "id");
  refused(R"({"parameters":[],"inputs":[]})", "parameters");
  refused(R"({"outputs":{},"inputs":[]})", "outputs");
  refused(R"({"outputs":[1],"inputs":[]})", "outputs[0]");
  refused(R"({"outputs":[{"name":"y"},{}],"inputs":[]})", "outputs[1].name");
  refused(R"({"outputs":[{"name":"y","parameters":1}],"inputs":[]})", "outputs[0].parameters");
  refused(R"({"outputs":[{"name":"y"},{"name":"y"}],"inputs":[]})", "outputs");
  refused(with(R"("datatype":"INT8","shape":[1],"data":[1])"), "inputs[0].name");
  refused(with(R"("name":1,"datatype":"INT8","shape":[1],"data":[1])"), "inputs[0].name");
  refused(with(R"("name":"x","shape":[1],"data":[1])"), "inputs[0].datatype");
  refused(with(R"("name":"x","datatype":1,"shape":[1],"data":[1])"), "inputs[0].datatype");
  refused(with("FLOAT", "[1]", "[1]"), "inputs[0].datatype");
  refused(with(R"("name":"x","datatype":"INT8","data":[1])"), "inputs[0].shape");
  refused(with(R"("name":"x","datatype":"INT8","shape":[1])"), "inputs[0].data");
  refused(with(R"("name":"x","datatype":"INT8","shape":[1],"parameters":1,"data":[1])"),
          "inputs[0].parameters");
  refused(R"({"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[1]},)"
          R"({"name":"\u0078","datatype":"INT8","shape":[1],"data":[1]}]})",
          "inputs[1].name");
}

TEST_CASE("shapes are counted without overflow") {
  refused(with("INT8", "1", "[1]"), "inputs[0].shape");
  refused(with("INT8", "[-1]", "[1]"), "inputs[0].shape");
  refused(with("INT8", "[1.0]", "[1]"), "inputs[0].shape");
  refused(with("INT8", "[9223372036854775808]", "[1]"), "inputs[0].shape");
  refused(with("INT8", "[4294967296,4294967296]", "[1]"), "inputs[0].shape");
  refused(with("INT8", "[4294967296,4294967296,0]", "[]"), "inputs[0].shape");
  refused(with("INT8", "[9223372036854775807]", "[1]"), "inputs[0].data");
  std::string deep = "[1";
  for (int i = 1; i <= 32; ++i) deep += ",1";
  refused(with("INT8", deep + "]", "[1]"), "inputs[0].shape");
}

TEST_CASE("JSON data has the shape's elements, flat or nested, and of the datatype") {
  for (const char* data :
       {"[1,2,3]", "[1,2,3,4,5]", "[[1,2]]", "[[1,2],[3]]", "[[1,2],[3,4],[5,6]]", "[[1,2],3]",
        "[1,[2],3,4]", "[[[1],[2]],[[3],[4]]]", "[[1,2],[3,[4]]]", "[[1,2],[3,{}]]", "[1,2,3,{}]",
        "1", "\"1234\"", "[[1,2],[3,\"4\"]]"}) {
    CAPTURE(data);
    refused(with("INT8", "[2,2]", data), "inputs[0].data");
  }
  refused(with("INT8", "[2]", "[[1],[2]]"), "inputs[0].data");
  const std::vector<std::pair<const char*, std::vector<const char*>>> good = {
      {"BOOL", {"true", "false", "0", "1"}},
      {"UINT8", {"0", "255", "255.0", "1e2"}},
      {"INT8", {"-128", "127"}},
      {"UINT16", {"65535"}},
      {"INT16", {"-32768"}},
      {"UINT32", {"4294967295"}},
      {"INT32", {"-2147483648"}},
      {"UINT64", {"18446744073709551615"}},
      {"INT64", {"-9223372036854775808", "9223372036854775807"}},
      {"FP16", {"1.5"}},
      {"FP32", {"1", "1e-3", "null"}},
      {"FP64", {"-1.7e308"}},
      {"BYTES", {"\"\"", "\"\\u00e9\""}}};
  const std::vector<std::pair<const char*, std::vector<const char*>>> bad = {
      {"BOOL", {"2", "\"true\"", "null"}},
      {"UINT8", {"-1", "256", "1.5", "true", "\"1\"", "null"}},
      {"INT8", {"-129", "128"}},
      {"UINT16", {"65536"}},
      {"INT16", {"32768"}},
      {"UINT32", {"4294967296"}},
      {"INT32", {"2147483648"}},
      {"UINT64", {"18446744073709551616", "-1"}},
      {"INT64", {"9223372036854775808", "-9223372036854777000"}},
      {"FP16", {"true"}},
      {"BF16", {"1"}},
      {"FP32", {"\"1\""}},
      {"FP64", {"false"}},
      {"BYTES", {"1"}}};
  for (const auto& [type, values] : good) {
    for (const char* value : values) {
      CAPTURE(type);
      CAPTURE(value);
      CHECK(accepted(with(type, "[1]", "["s + value + "]")));
      CHECK(accepted(with(type, "[1,1]", "[["s + value + "]]")));
    }
  }
  for (const auto& [type, values] : bad) {
    for (const char* value : values) {
      CAPTURE(type);
      CAPTURE(value);
      refused(with(type, "[1]", "["s + value + "]"), "inputs[0].data");
      refused(with(type, "[1,1]", "[["s + value + "]]"), "inputs[0].data");
    }
  }
}

TEST_CASE("binary data has the size of the shape, and all of the body belongs to a tensor") {
  const std::string size = "inputs[0].parameters.binary_data_size";
  refused_binary("INT16", "[2]", 4, "abc", size);
  refused_binary("INT16", "[2]", 2, "ab", size);
  refused_binary("INT16", "[2]", 5, "abcde", size);
  refused_binary("INT16", "[2]", 6, "abcdef", size);
  refused_binary("INT64", "[2305843009213693952]", 0, "", size);  // its bytes overflow
  refused_binary("INT16", "[2]", 4, "abcde", kLength);
  refused_binary("BYTES", "[1]", 3, "abc", "inputs[0]");
  refused_binary("BYTES", "[1]", 5, "\2\0\0\0a"s, "inputs[0]");
  refused_binary("BYTES", "[1]", 6, "\1\0\0\0ab"s, "inputs[0]");
  refused_binary("BYTES", "[1]", 4, "\xff\xff\xff\xff"s, "inputs[0]");
  refused_binary("BYTES", "[2]", 4, "\0\0\0\0"s, "inputs[0]");
  refused_binary("BYTES", "[9223372036854775807]", 4, "\0\0\0\0"s, "inputs[0]");
  for (const char* bytes : {"-1", "1.5", "\"1\"", "9223372036854775808", "null"}) {
    refused(with(R"("name":"x","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":)"s +
                 bytes + "}"),
            size);
  }
  refused(with(R"("name":"x","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1})"),
          size);  // without the header no bytes follow the JSON
  refused(with(R"("name":"x","datatype":"INT8","shape":[1],"data":[1],)"
               R"("parameters":{"binary_data_size":1})"),
          "inputs[0].data");
  refused(with(R"("name":"x","datatype":"INT8","shape":[1],"data":[1],)"
               R"("parameters":{"shared_memory_region":"r"})"),
          "inputs[0].data");
  const std::string json = with("INT8", "[1]", "[1]");
  for (const char* value : {"-1", "x", "1x", "", " 1", "99999", "99999999999999999999999"}) {
    if (*value != '\0') refused(json, kLength, value);
  }
  refused(json, "", "5");
  refused(json + "x", kLength, std::to_string(json.size()));
}

TEST_CASE("an answer that is not what was asked for is an error, never a guess") {
  const Asked asked = codec()
                          .read_request(calls::post("/v2/models/m/infer"),
                                        Slice::copy_of(with("INT8", "[2]", "[1,2]")))
                          .value();
  const std::vector<CallRow> rows = calls::rows_of({asked});
  const auto wrong = [&](const std::string& body, const std::vector<Header>& headers = {}) {
    calls::check_wrong_answer(codec(), asked.key, rows, body, headers);
  };
  const auto output = [](const std::string& shape, const std::string& data) {
    return R"({"outputs":[{"name":"y","datatype":"FP32","shape":)" + shape + "," + data + "}]}";
  };
  const auto good = codec().read_call(
      asked.key, rows,
      {.headers = {}, .body = Slice::copy_of(output("[2]", R"("data":[1,null])"))});
  REQUIRE(good.ok());
  CHECK(good.value()[1].value().bytes.view() == "null");
  wrong("");
  wrong("[]");
  wrong("{}");
  wrong(R"({"error":"no"})");
  wrong(R"({"outputs":[]})");
  wrong(output("[]", R"("data":[1])"));
  wrong(output("[1]", R"("data":[1])"));
  wrong(output("[3]", R"("data":[1,2,3])"));
  wrong(output("[9000000000,0]", R"("data":[])"));
  wrong(output("[2]", R"("data":[1])"));
  wrong(output("[2]", R"("data":[1,[2]])"));
  wrong(output("[2]", R"("parameters":{"shared_memory_region":"r"})"));
  wrong(output("[2]", R"("parameters":{"binary_data_size":8})"));
  wrong(output("[2]", R"("data":[1,2])") + "x");
  wrong(output("[2]", R"("data":[1,2])"), {{kLength, "1000"}});
  wrong(output("[2]", R"("data":[1,2])"), {{kLength, "x"}});
  wrong(output("[2]", R"("data":[1,2])"), {{kLength, "0"}});
}

TEST_CASE("a request answered in two calls gets one answer only if both go together") {
  const Asked asked = codec()
                          .read_request(calls::post("/v2/models/m/infer"),
                                        Slice::copy_of(with("INT8", "[2]", "[1,2]")))
                          .value();
  const std::vector<CallRow> rows = calls::rows_of({asked});
  const auto one = [&](size_t row, const std::string& beside, const std::string& shape) {
    const std::string answer = "{" + beside +
                               R"("outputs":[{"name":"y","datatype":"FP32","shape":)" + shape +
                               R"(,"data":[7]}]})";
    return codec()
        .read_call(asked.key, {&rows[row], 1}, {.headers = {}, .body = Slice::copy_of(answer)})
        .value()[0]
        .value();
  };
  const auto joined = [&](const std::vector<Output>& outputs) {
    return codec().write_response(asked, {.outputs = outputs, .labels = {}});
  };
  const auto good = joined({one(0, R"("model_version":"1","id":"u",)", "[1]"),
                            one(1, R"("model_version":"1","id":"v",)", "[1]")});
  REQUIRE(good.ok());
  CHECK(calls::text_of(good.value()) ==
        R"({"model_version":"1","id":"u","outputs":[)"
        R"({"name":"y","datatype":"FP32","shape":[2],"data":[7,7]}]})");
  for (const auto& outputs :
       {std::vector{one(0, R"("model_version":"1",)", "[1]"),
                    one(1, R"("model_version":"2",)", "[1]")},
        std::vector{one(0, R"("model_version":"1",)", "[1]"), one(1, "", "[1]")},
        std::vector{one(0, "", "[1]"), one(1, "", "[1,1]")},
        std::vector{one(0, "", "[1]"), Output(Slice::copy_of("1"), Form::kJson)},
        std::vector<Output>{}}) {
    const auto bad = joined(outputs);
    REQUIRE(!bad.ok());
    CHECK(bad.error().code == Code::kUpstream);
  }
}

TEST_CASE("what is no request of this protocol is not said in it, and broken rows are noticed") {
  CHECK(oip_dialect().upstream_codec(Operation::kEmbed) == nullptr);
  const auto call = codec().write_call({.operation = Operation::kInfer,
                                        .codec = "other",
                                        .target = "/",
                                        .model = "m",
                                        .params = {},
                                        .headers = {}},
                                       {});
  REQUIRE(!call.ok());
  CHECK(call.error().code == Code::kInvalid);
  for (const auto& row : {""s, "\1\0\0\0\0\0\0\0"s, "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a"s,
                          "\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0abc"s}) {
    const std::vector<Slice> rows = {Slice::copy_of(row)};
    CHECK(!oip::scatter(rows, 2).ok());
  }
}

}  // namespace
}  // namespace sluice
