// SPDX-License-Identifier: Apache-2.0
// Requests that were merged are answered, to the byte, as if each had gone alone.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "backends/dialect_oip.h"
#include "tests/codec_calls.h"
#include "tests/oip_fake.h"

namespace sluice {
namespace {

using oip_fake::Message;
using oip_fake::Spec;

constexpr std::string_view kLength = "Inference-Header-Content-Length";

const Codec& codec() { return *oip_dialect().upstream_codec(Operation::kInfer); }

std::vector<Spec> random_specs(Prng& prng, const std::string& prefix, bool zeros) {
  std::vector<Spec> specs;
  const int64_t count = prng.between(1, 3);
  for (int64_t i = 0; i < count; ++i)
    specs.push_back(oip_fake::random_spec(prng, prefix + std::to_string(i), zeros));
  return specs;
}

Message random_request(Prng& prng, const std::vector<Spec>& inputs, size_t number) {
  const auto rows = static_cast<size_t>(prng.between(1, 5));
  std::string json = "{", tail;
  if (prng.chance(0.7)) json += R"("id":"r)" + std::to_string(number) + R"(",)";
  json += R"("inputs":[)";
  for (const Spec& spec : inputs) {
    const auto elements = oip_fake::random_elements(prng, spec, rows * spec.each());
    json += oip_fake::tensor_text(spec, rows, elements, tail) + ",";
  }
  json.back() = ']';
  return oip_fake::message(json + R"(,"outputs":[{"name":"y0"}]})", tail,
                           oip_fake::any_binary(inputs));
}

Message message_of(const Body& body) {
  const std::string length = calls::header_of(body, kLength);
  return {calls::text_of(body), length.empty() ? 0 : std::stoul(length)};
}

Asked read(const Message& request) {
  const std::string length = std::to_string(request.json_bytes);
  std::vector<Header> headers;
  if (request.json_bytes > 0) headers.push_back({kLength, length});
  auto asked = codec().read_request(calls::post("/v2/models/m/infer", headers),
                                    Slice::copy_of(request.text));
  REQUIRE_MESSAGE(asked.ok(), (asked.ok() ? "" : asked.error().message));
  REQUIRE(!asked.value().pass_through);
  return std::move(asked).value();
}

// The outcomes of a call, from the model.
std::vector<Outcome> call(const std::vector<Spec>& inputs, const std::vector<Spec>& outputs,
                          const CallKey& key, std::span<const CallRow> rows) {
  const auto written = codec().write_call(key, rows);
  REQUIRE(written.ok());
  const Message answer = oip_fake::serve(inputs, outputs, message_of(written.value().body));
  const std::string length = std::to_string(answer.json_bytes);
  std::vector<Header> headers;
  if (answer.json_bytes > 0) headers.push_back({kLength, length});
  auto outcomes =
      codec().read_call(key, rows, {.headers = headers, .body = Slice::copy_of(answer.text)});
  REQUIRE_MESSAGE(outcomes.ok(), (outcomes.ok() ? "" : outcomes.error().message));
  REQUIRE(outcomes.value().size() == rows.size());
  return std::move(outcomes).value();
}

void merge_and_compare(uint64_t seed) {
  CAPTURE(seed);
  Prng prng(seed);
  const std::vector<Spec> inputs = random_specs(prng, "x", false);
  const std::vector<Spec> outputs = random_specs(prng, "y", true);
  std::vector<Message> messages;
  std::vector<Asked> requests;
  const int64_t count = prng.between(1, 5);
  for (int64_t i = 0; i < count; ++i) {
    messages.push_back(random_request(prng, inputs, static_cast<size_t>(i)));
    requests.push_back(read(messages.back()));
    CHECK(requests.back().key.encode() == requests.front().key.encode());
  }
  // One call, or two that cut a request anywhere.
  const std::vector<CallRow> rows = calls::rows_of(requests);
  const auto cut = static_cast<size_t>(prng.between(1, static_cast<int64_t>(rows.size())));
  const CallKey key = CallKey::decode(requests.front().key.encode()).value();
  std::vector<Outcome> outcomes = call(inputs, outputs, key, std::span(rows).first(cut));
  if (cut < rows.size()) {
    for (Outcome& outcome : call(inputs, outputs, key, std::span(rows).subspan(cut)))
      outcomes.push_back(std::move(outcome));
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto own = calls::take_outputs(outcomes, requests[i].rows.size());
    const auto body = codec().write_response(requests[i], {.outputs = own, .labels = {}});
    REQUIRE(body.ok());
    const Message got = message_of(body.value());
    const Message wanted = oip_fake::serve(inputs, outputs, messages[i]);
    CHECK(got.text == wanted.text);
    CHECK(got.json_bytes == wanted.json_bytes);
  }
}

TEST_CASE("merged, requests of any tensors are answered as if each had gone alone") {
  for (uint64_t seed = 1; seed <= 2000; ++seed) merge_and_compare(seed);
}

}  // namespace
}  // namespace sluice
