// SPDX-License-Identifier: Apache-2.0
// oip-v2-json: binary tensors on the way to servers that take JSON only.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "backends/dialect_oip.h"
#include "backends/oip_text.h"
#include "base/prng.h"
#include "tests/codec_calls.h"

namespace sluice {
namespace {

using namespace std::string_literals;
using calls::post;
using calls::text_of;

constexpr const char* kPath = "/v2/models/m/infer";
constexpr std::string_view kLength = "Inference-Header-Content-Length";

const Codec& codec() { return *oip_json_dialect().upstream_codec(Operation::kInfer); }

template <typename... Numbers>
std::string bytes_of(Numbers... numbers) {
  std::string out;
  (out.append(reinterpret_cast<const char*>(&numbers), sizeof(numbers)), ...);
  return out;
}

std::string word(const std::string& text) {
  return bytes_of(static_cast<uint32_t>(text.size())) + text;
}

// The elements as JSON; the message if they have no form there.
std::string elements(oip::Datatype datatype, const std::string& row) {
  std::string out;
  const Result<Done> done = oip::append_elements(out, datatype, row, "inputs[0]");
  if (done.ok()) return out;
  CHECK(done.error().code == Code::kInvalid);
  CHECK(done.error().param == "inputs[0]");
  return done.error().message;
}

TEST_CASE("elements of each datatype become JSON that means the same") {
  using oip::Datatype;
  CHECK(elements(Datatype::kBool, "\0\1\2"s) == "false,true,true");
  CHECK(elements(Datatype::kUint8, "\0\xFF"s) == "0,255");
  CHECK(elements(Datatype::kInt8, "\x7F\x80"s) == "127,-128");
  CHECK(elements(Datatype::kUint16, bytes_of(uint16_t{65535})) == "65535");
  CHECK(elements(Datatype::kInt16, bytes_of(int16_t{-32768}, int16_t{1})) == "-32768,1");
  CHECK(elements(Datatype::kUint32, bytes_of(uint32_t{4294967295})) == "4294967295");
  CHECK(elements(Datatype::kInt32, bytes_of(int32_t{-7})) == "-7");
  CHECK(elements(Datatype::kUint64, bytes_of(UINT64_MAX)) == "18446744073709551615");
  CHECK(elements(Datatype::kInt64, bytes_of(INT64_MIN)) == "-9223372036854775808");
  CHECK(elements(Datatype::kFp32, bytes_of(0.1F, -0.0F, 1e30F)) == "0.1,-0,1e+30");
  CHECK(elements(Datatype::kFp64, bytes_of(0.1, 5e-324)) == "0.1,5e-324");
  CHECK(elements(Datatype::kBytes, word("a\"b") + word("") + word("\xC3\xA9")) ==
        "\"a\\\"b\",\"\",\"\xC3\xA9\"");
}

TEST_CASE("halves are read exactly: normal, subnormal, the largest, signed zero") {
  using oip::Datatype;
  CHECK(elements(Datatype::kFp16, bytes_of(uint16_t{0x3C00}, uint16_t{0xC500})) == "1,-5");
  CHECK(elements(Datatype::kFp16, bytes_of(uint16_t{0x7BFF}, uint16_t{0x8000})) == "65504,-0");
  const std::string least = elements(Datatype::kFp16, bytes_of(uint16_t{0x0001}, uint16_t{0x03FF}));
  CHECK(std::stof(least) == std::ldexp(1.0F, -24));
  CHECK(std::stof(least.substr(least.find(',') + 1)) == std::ldexp(1023.0F, -24));
}

TEST_CASE("floats become the decimals that give them back") {
  Prng prng(3);
  for (int i = 0; i < 10'000; ++i) {
    const auto bits = static_cast<uint32_t>(prng.next());
    const auto value = std::bit_cast<float>(bits);
    if (!std::isfinite(value)) continue;
    const std::string text = elements(oip::Datatype::kFp32, bytes_of(value));
    const Slice json = Slice::copy_of(text);
    const Result<JsonView> parsed = parse_json(json);
    REQUIRE(parsed.ok());
    const auto again = static_cast<float>(parsed.value().number());
    CHECK(std::bit_cast<uint32_t>(again) == bits);
  }
}

TEST_CASE("what JSON has no form for is refused, naming the tensor") {
  using oip::Datatype;
  for (const float bad : {NAN, HUGE_VALF, -HUGE_VALF})
    CHECK(elements(Datatype::kFp32, bytes_of(1.0F, bad)).find("not finite") != std::string::npos);
  CHECK(elements(Datatype::kFp16, bytes_of(uint16_t{0x7C00})).find("finite") != std::string::npos);
  CHECK(elements(Datatype::kFp16, bytes_of(uint16_t{0x7E00})).find("finite") != std::string::npos);
  CHECK(elements(Datatype::kBf16, "\0\0"s).find("BF16") != std::string::npos);
  CHECK(elements(Datatype::kBytes, word("\xFF")).find("UTF-8") != std::string::npos);
  CHECK(elements(Datatype::kBytes, word("\xED\xA0\x80")).find("UTF-8") != std::string::npos);
  CHECK(elements(Datatype::kBytes, word("\xEF\xBF\xBD")) == "\"\xEF\xBF\xBD\"");
  CHECK(elements(Datatype::kBytes, word("abc").substr(0, 6)).find("cut off") != std::string::npos);
  CHECK(elements(Datatype::kInt32, "abc").find("cut off") != std::string::npos);
}

Result<Asked> try_read(const Codec& reader, const std::string& json, const std::string& tail) {
  const std::string length = std::to_string(json.size());
  return reader.read_request(post(kPath, {{std::string(kLength), length}}),
                             Slice::copy_of(json + tail));
}

// Two inputs of `rows` rows, x of two FP32 each and words of one, as Triton's client writes them.
Result<Asked> try_request(const Codec& reader, int rows, float first, const std::string& text) {
  std::string x, words;
  for (int i = 0; i < rows; ++i) {
    x += bytes_of(first + static_cast<float>(i), 0.5F);
    words += word(text);
  }
  const std::string n = std::to_string(rows);
  return try_read(reader,
                  R"({"id":"i","inputs":[{"name":"x","shape":[)" + n +
                      R"(,2],"datatype":"FP32","parameters":{"binary_data_size":)" +
                      std::to_string(x.size()) + R"(}},{"name":"w","shape":[)" + n +
                      R"(,1],"datatype":"BYTES","parameters":{"binary_data_size":)" +
                      std::to_string(words.size()) + R"(,"content_type":"str"}}],)" +
                      R"("outputs":[{"name":"y","parameters":{"binary_data":true}}]})",
                  x + words);
}

Asked request(const Codec& reader, int rows, float first, const std::string& text) {
  Result<Asked> asked = try_request(reader, rows, first, text);
  REQUIRE(asked.ok());
  return std::move(asked).value();
}

constexpr const char* kCall =
    R"({"inputs":[{"name":"x","shape":[3,2],"datatype":"FP32","data":[1,0.5,2,0.5,7.25,0.5]},)"
    R"({"name":"w","shape":[3,1],"datatype":"BYTES","parameters":{"content_type":"str"},)"
    "\"data\":[\"a\",\"a\",\"\xC3\xA9\"]}],"
    R"("outputs":[{"name":"y","parameters":{"binary_data":true}}]})";

TEST_CASE("binary requests become one call in JSON, without header and sizes") {
  // A request that was read for an endpoint with the extension may still be sent to one without.
  for (const Dialect* dialect : {&oip_json_dialect(), &oip_dialect()}) {
    const Codec& reader = *dialect->upstream_codec(Operation::kInfer);
    const std::vector<Asked> requests = {request(reader, 2, 1.0F, "a"),
                                         request(reader, 1, 7.25F, "\xC3\xA9")};
    CHECK(requests[0].key.encode() == requests[1].key.encode());
    const auto call = codec().write_call(requests[0].key, calls::rows_of(requests));
    REQUIRE(call.ok());
    CHECK(call.value().body.content_type == "application/json");
    CHECK(call.value().body.headers.empty());
    CHECK(text_of(call.value().body) == kCall);
  }
}

TEST_CASE("binary and flat JSON tensors share a call") {
  const auto key = [](const std::string& rest, const std::string& tail) {
    const auto asked = try_read(
        codec(), R"({"inputs":[{"name":"x","shape":[1,2],"datatype":"INT8",)" + rest + "}]}", tail);
    REQUIRE(asked.ok());
    CHECK(asked.value().rows[0].wire.view() == "1,2");
    return asked.value().key.encode();
  };
  CHECK(key(R"("parameters":{"binary_data_size":2})", "\1\2") == key(R"("data":[1,2])", ""));
}

TEST_CASE("tensors that came as JSON go on as they came") {
  const auto asked = try_read(
      codec(), R"({"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[1.50,2e0]]}]})",
      "");
  REQUIRE(asked.ok());
  const auto call = codec().write_call(asked.value().key, calls::rows_of({asked.value()}));
  REQUIRE(call.ok());
  CHECK(text_of(call.value().body) ==
        R"({"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[1.50,2e0]]}]})");
}

TEST_CASE("a request whose tensor JSON cannot hold is refused before it meets others") {
  const auto number = try_request(codec(), 1, NAN, "a");
  REQUIRE(!number.ok());
  CHECK(number.error().code == Code::kInvalid);
  CHECK(number.error().param == "inputs[0]");
  const auto text = try_request(codec(), 1, 1.0F, "\xFF");
  REQUIRE(!text.ok());
  CHECK(text.error().param == "inputs[1]");
  // Nor is a call of such written, if it was read for an endpoint with the extension.
  const Codec& other = *oip_dialect().upstream_codec(Operation::kInfer);
  const Asked asked = request(other, 1, NAN, "a");
  const auto call = codec().write_call(asked.key, calls::rows_of({asked}));
  REQUIRE(!call.ok());
  CHECK(call.error().code == Code::kInvalid);
  CHECK(call.error().param == "inputs[0]");
}

}  // namespace
}  // namespace sluice
