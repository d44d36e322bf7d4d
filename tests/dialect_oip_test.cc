// SPDX-License-Identifier: Apache-2.0
// The Open Inference Protocol v2, byte by byte: what requests become, and what answers.
#include "backends/dialect_oip.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/codec_calls.h"

namespace sluice {
namespace {

using namespace std::string_literals;
using calls::header_of;
using calls::post;
using calls::text_of;

constexpr const char* kPath = "/v2/models/m/infer";
constexpr std::string_view kLength = "Inference-Header-Content-Length";

const Codec& codec() { return *oip_dialect().upstream_codec(Operation::kInfer); }

Asked read(const std::string& body, std::string_view json_bytes = {}) {
  CAPTURE(body);
  std::vector<Header> headers;
  if (!json_bytes.empty()) headers.push_back({kLength, json_bytes});
  Result<Asked> asked = codec().read_request(post(kPath, headers), Slice::copy_of(body));
  REQUIRE(asked.ok());
  return std::move(asked).value();
}

// The call that merges requests, which must have one key.
CallRequest merged(const std::vector<Asked>& requests) {
  for (const Asked& request : requests)
    CHECK(request.key.encode() == requests.front().key.encode());
  auto call = codec().write_call(requests.front().key, calls::rows_of(requests));
  REQUIRE(call.ok());
  return std::move(call).value();
}

// The answers to requests, written from the one answer to their call.
std::vector<Body> split(const std::vector<Asked>& requests, const std::string& answer,
                        std::string_view json_bytes = {}) {
  std::vector<Header> headers;
  if (!json_bytes.empty()) headers.push_back({"inference-header-content-length", json_bytes});
  auto outcomes = codec().read_call(requests.front().key, calls::rows_of(requests),
                                    {.headers = headers, .body = Slice::copy_of(answer)});
  REQUIRE(outcomes.ok());
  std::vector<Body> bodies;
  for (const Asked& request : requests) {
    const auto outputs = calls::take_outputs(outcomes.value(), request.rows.size());
    auto body = codec().write_response(request, {.outputs = outputs, .labels = {}});
    REQUIRE(body.ok());
    bodies.push_back(std::move(body).value());
  }
  CHECK(outcomes.value().empty());
  return bodies;
}

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

TEST_CASE("JSON requests are joined along dimension 0, and each gets its part and its id") {
  const std::vector<Asked> requests = {
      read(R"({"id":"a","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32",)"
           R"("data":[1.0,2e0, 3,4.50]}]})"),
      read(
          R"({"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[-0.0,6]}],"id":"b"})")};
  CHECK(requests[0].rows.size() == 2);
  CHECK(requests[0].key.model == "m");
  CHECK(requests[0].key.operation == Operation::kInfer);
  CHECK(requests[0].rows[1].wire.view() == "3,4.50");
  const CallRequest call = merged(requests);
  CHECK(call.target == kPath);
  CHECK(call.body.content_type == "application/json");
  CHECK(call.body.headers.empty());
  CHECK(text_of(call.body) == R"({"inputs":[{"name":"x","shape":[3,2],"datatype":"FP32",)"
                              R"("data":[1.0,2e0,3,4.50,-0.0,6]}]})");
}

TEST_CASE("an answer in JSON is cut; what stands beside the outputs goes to each") {
  const std::string request =
      R"({"id":"q","inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[5]}]})";
  std::vector<Asked> requests = {read(request), read(request)};
  requests[1].shape.id.clear();
  const auto bodies = split(
      requests,
      R"({"model_name":"m","model_version":"1","parameters":{"k":[1]},"outputs":[)"
      R"({"name":"y","shape":[2,2],"datatype":"FP32","data":[0.10,1E5,2,3]},)"
      R"({"name":"z","datatype":"BYTES","shape":[2,1],"data":[["\u00e9"],["b"]],"extra":1}]})");
  CHECK(text_of(bodies[0]) ==
        R"({"id":"q","model_name":"m","model_version":"1","parameters":{"k":[1]},"outputs":[)"
        R"({"name":"y","shape":[1,2],"datatype":"FP32","data":[0.10,1E5]},)"
        R"({"name":"z","datatype":"BYTES","shape":[1,1],"data":[["\u00e9"]],"extra":1}]})");
  CHECK(text_of(bodies[1]) ==
        R"({"model_name":"m","model_version":"1","parameters":{"k":[1]},"outputs":[)"
        R"({"name":"y","shape":[1,2],"datatype":"FP32","data":[2,3]},)"
        R"({"name":"z","datatype":"BYTES","shape":[1,1],"data":[["b"]],"extra":1}]})");
  CHECK(bodies[0].content_type == "application/json");
  CHECK(header_of(bodies[0], kLength).empty());
  // An id of the upstream's own stands where it stood, with the caller's value.
  const auto own =
      split({requests[0]}, R"({"model_name":"m","id":"u","outputs":[)"
                           R"({"name":"y","shape":[1],"datatype":"BOOL","data":[true]}]})");
  CHECK(text_of(own[0]) == R"({"model_name":"m","id":"q","outputs":[)"
                           R"({"name":"y","shape":[1],"datatype":"BOOL","data":[true]}]})");
}

TEST_CASE("flat, nested and binary data do not meet; of one dimension flat is all there is") {
  const auto key = [](const std::string& shape, const std::string& data) {
    return read(R"({"inputs":[{"name":"x","shape":)" + shape + R"(,"datatype":"INT64","data":)" +
                data + "}]}")
        .key.encode();
  };
  CHECK(key("[2,1]", "[1,2]") == key("[1,1]", "[7]"));
  CHECK(key("[2,1]", "[1,2]") != key("[2,1]", "[[1],[2]]"));
  CHECK(key("[2,1]", "[[1],[2]]") == key("[1,1]", "[[3]]"));
  CHECK(key("[2]", "[1,2]") == key("[1]", "[3]"));
  CHECK(key("[2]", "[1,2]") != key("[2,1]", "[1,2]"));
  const Asked nested = read(R"({"inputs":[{"name":"x","shape":[2,1,2],"datatype":"INT64",)"
                            R"("data":[[[1,2]], [ [3,4] ]]}]})");
  CHECK(nested.rows[1].wire.view() == "[ [3,4] ]");
  CHECK(text_of(merged({nested, nested}).body) ==
        R"({"inputs":[{"name":"x","shape":[4,1,2],"datatype":"INT64",)"
        R"("data":[[[1,2]],[ [3,4] ],[[1,2]],[ [3,4] ]]}]})");
}

TEST_CASE("whatever could change the answer is in the key, the id is not") {
  const auto key = [](const std::string& rest, const std::string& input = "") {
    return read(R"({"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[1])" + input +
                "}]" + rest + "}")
        .key.encode();
  };
  CHECK(key("") == key(R"(,"id":"1")"));
  for (const char* rest : {R"(,"outputs":[{"name":"y"}])", R"(,"outputs":[{"name":"z"}])",
                           R"(,"outputs":[{"name":"y","parameters":{"binary_data":true}}])",
                           R"(,"outputs":[{"name":"y","parameters":{"classification":2}}])",
                           R"(,"parameters":{"priority":1})", R"(,"parameters":{"timeout":1})",
                           R"(,"parameters":{"binary_data_output":true})", R"(,"unknown":1)"}) {
    CHECK(key(rest) != key(""));
    CHECK(key(rest) == key(rest));
  }
  CHECK(key("", R"(,"parameters":{"p":1})") != key(""));
  CHECK(key("", R"(,"unknown":1)") != key(""));
  const auto at = [](const char* path) {
    return codec()
        .read_request(post(path), Slice::copy_of(R"({"inputs":[{"name":"x","shape":[1],)"
                                                 R"("datatype":"INT64","data":[1]}]})"))
        .value()
        .key;
  };
  CHECK(at("/v2/models/a%20b/versions/3/infer").model == "a b");
  CHECK(at("/v2/models/m/versions/3/infer").encode() != at("/v2/models/m/infer").encode());
  const Asked all =
      read(R"({"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[1],"u":{"v":2}}],)"
           R"("zz":[1],"outputs":[{"name":"y"}],"parameters":{"timeout":5}})");
  CHECK(text_of(merged({all}).body) ==
        R"({"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[1],"u":{"v":2}}],)"
        R"("outputs":[{"name":"y"}],"parameters":{"timeout":5},"zz":[1]})");
}

TEST_CASE("what tritonclient sends with binary data is merged as it is") {
  // Bodies of tritonclient 2.73.0 for [[1,2,3],[4,5,6]] as FP32.
  const std::string json =
      R"({"id":"42","inputs":[{"name":"x","shape":[2,3],"datatype":"FP32",)"
      R"("parameters":{"binary_data_size":24}}],"parameters":{"binary_data_output":true}})";
  const std::string data = bytes({0, 0, 0x80, 0x3f, 0, 0, 0,    0x40, 0, 0, 0x40, 0x40,  //
                                  0, 0, 0x80, 0x40, 0, 0, 0xa0, 0x40, 0, 0, 0xc0, 0x40});
  const Asked asked = read(json + data, "145");
  REQUIRE(asked.rows.size() == 2);
  CHECK(asked.shape.id == "42");
  CHECK(asked.rows[1].wire.view() == data.substr(12));
  const CallRequest call = merged({asked, asked});
  const std::string call_json =
      R"({"inputs":[{"name":"x","shape":[4,3],"datatype":"FP32",)"
      R"("parameters":{"binary_data_size":48}}],"parameters":{"binary_data_output":true}})";
  CHECK(text_of(call.body) == call_json + data + data);
  CHECK(call.body.content_type == "application/octet-stream");
  CHECK(header_of(call.body, kLength) == std::to_string(call_json.size()));
  const std::string answer =
      R"({"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"UINT16",)"
      R"("shape":[4],"parameters":{"binary_data_size":8}}]})";
  const auto bodies = split({asked, asked}, answer + "aabbccdd", std::to_string(answer.size()));
  const std::string second =
      R"({"id":"42","model_name":"m","model_version":"1","outputs":[{"name":"y",)"
      R"("datatype":"UINT16","shape":[2],"parameters":{"binary_data_size":4}}]})";
  CHECK(text_of(bodies[1]) == second + "ccdd");
  CHECK(header_of(bodies[1], kLength) == std::to_string(second.size()));
  CHECK(bodies[1].content_type == "application/octet-stream");
}

TEST_CASE("what tritonclient sends with texts and JSON beside binary data is merged as it is") {
  const std::string json =
      R"({"inputs":[{"name":"s","shape":[2,1],"datatype":"BYTES","parameters":)"
      R"({"binary_data_size":12}},{"name":"b","shape":[2,2],"datatype":"INT32","data":)"
      R"([1,-2,3,4]}],"parameters":{"priority":1,"timeout":1000,"binary_data_output":true,)"
      R"("k":"v"}})";
  const std::string data = "\2\0\0\0ab\2\0\0\0\xc3\xa9"s;
  const Asked asked = read(json + data, "236");
  REQUIRE(asked.rows.size() == 2);
  CHECK(asked.rows[0].wire.view() == "\6\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\2\0\0\0ab1,-2"s);
  const std::string call_json =
      R"({"inputs":[{"name":"s","shape":[4,1],"datatype":"BYTES","parameters":)"
      R"({"binary_data_size":24}},{"name":"b","shape":[4,2],"datatype":"INT32","data":)"
      R"([1,-2,3,4,1,-2,3,4]}],"parameters":{"priority":1,"timeout":1000,)"
      R"("binary_data_output":true,"k":"v"}})";
  CHECK(text_of(merged({asked, asked}).body) == call_json + data + data);
  // Requested outputs, and data in JSON.
  const std::string plain = R"({"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32",)"
                            R"("data":[1.0,2.0,3.0,4.0,5.0,6.0]}],)"
                            R"("outputs":[{"name":"y","parameters":{"binary_data":false}}]})";
  CHECK(text_of(merged({read(plain)}).body) == plain);
}

TEST_CASE("what is valid but not to be merged passes through") {
  const auto passes = [](const std::string& body, std::string_view json_bytes = {}) {
    const Asked asked = read(body, json_bytes);
    CHECK(asked.rows.empty());
    CHECK(asked.key.model == "m");
    return asked.pass_through;
  };
  const auto input = [](const char* name, const char* shape, const char* data) {
    return R"({"name":")"s + name + R"(","datatype":"INT8","shape":)" + shape + R"(,"data":)" +
           data + "}";
  };
  CHECK(passes(R"({"inputs":[)" + input("x", "[]", "[1]") + "]}"));
  CHECK(passes(R"({"inputs":[)" + input("x", "[0,2]", "[]") + "]}"));
  CHECK(passes(R"({"inputs":[)" + input("x", "[2,0]", "[[],[]]") + "]}"));
  CHECK(passes(R"({"inputs":[)" + input("x", "[1]", "[1]") + "," + input("y", "[2]", "[1,2]") +
               "]}"));
  CHECK(passes(R"({"parameters":{"sequence_id":7},"inputs":[)" + input("x", "[1]", "[1]") + "]}"));
  CHECK(passes(R"({"inputs":[{"name":"x","datatype":"INT8","shape":[1],"parameters":)"
               R"({"shared_memory_region":"r","shared_memory_byte_size":1}}]})"));
  CHECK(passes(R"({"outputs":[{"name":"y","parameters":{"shared_memory_region":"r"}}],"inputs":[)" +
               input("x", "[1]", "[1]") + "]}"));
  CHECK(passes("raw bytes", "0"));
  std::string many = "[1";
  for (int i = 1; i <= 16'384; ++i) many += ",1";
  CHECK(passes(R"({"inputs":[)" + input("x", "[16385]", (many + "]").c_str()) + "]}"));
  // As a huge extent of nothing.
  const std::string zero =
      R"({"inputs":[{"name":"x","datatype":"INT8","shape":[9000000000,0],"parameters":)"
      R"({"binary_data_size":0}}]})";
  CHECK(passes(zero, std::to_string(zero.size())));
}

TEST_CASE("errors have the protocol's shape") {
  CHECK(oip_dialect().write_error({.code = Code::kInvalid, .message = "a \"b\"", .param = "x"},
                                  "id") == R"({"error":"a \"b\""})");
}

}  // namespace
}  // namespace sluice
