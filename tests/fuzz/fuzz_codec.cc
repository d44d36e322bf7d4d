// SPDX-License-Identifier: Apache-2.0
// A request and an upstream's answer to it, each any bytes, through the codecs of any two dialects.
// The first two bytes of the input choose them; the rest is the request, a line feed, the answer.
// What is accepted must be writable as JSON; an answer is wholly refused or has all outcomes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dialect_cohere.h"
#include "backends/dialect_openai.h"
#include "backends/dialect_tei.h"
#include "base/assert.h"
#include "base/json.h"

using namespace sluice;

namespace {

const Codec* const kCodecs[] = {&openai::embeddings_codec(), &tei::embed_codec(),
                                &tei::sparse_codec(),        &tei::rerank_codec(),
                                &tei::predict_codec(),       &cohere::rerank_codec(),
                                &cohere::classify_codec()};
constexpr std::string_view kTargets[] = {"/v1/embeddings", "/embed",     "/embed_sparse", "/rerank",
                                         "/predict",       "/v1/rerank", "/classify"};

void check_json(const Body& body) {
  std::string text;
  for (const Slice& part : body.parts) text += part.view();
  ASSERT(parse_json(Slice::copy_of(text)).ok());
}

void check_response(const Codec& client, const Asked& asked, std::span<const Output> outputs) {
  const std::string labels[] = {"a", "b"};
  const Result<Body> body =
      client.write_response(asked, {.outputs = outputs, .tokens = 3, .labels = labels});
  if (body.ok()) {
    check_json(body.value());
  } else {
    ASSERT(body.error().code == Code::kUpstream);
  }
}

// The answer as the upstream's codec reads it, back to the client.
void check_answer(const Codec& client, const Codec& upstream, const Asked& asked,
                  std::span<const CallRow> rows, const Slice& answer) {
  const Result<std::vector<Outcome>> outcomes =
      upstream.read_call(asked.key, rows, {.headers = {}, .body = answer});
  if (!outcomes.ok()) {
    ASSERT(outcomes.error().code == Code::kUpstream);
    return;
  }
  ASSERT(outcomes.value().size() == rows.size());
  std::vector<Output> outputs;
  for (const Outcome& outcome : outcomes.value()) {
    ASSERT(outcome.ok() && parse_json(outcome.value().bytes).ok());
    outputs.push_back(outcome.value());
  }
  check_response(client, asked, outputs);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t chosen = data[0] % std::size(kCodecs);
  const Codec& client = *kCodecs[chosen];
  const Codec& upstream = *kCodecs[data[1] % std::size(kCodecs)];
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string_view request = rest.substr(0, rest.find('\n'));
  const std::string_view answer = rest.substr(std::min(rest.size(), request.size() + 1));
  RequestHead head;
  head.target = kTargets[chosen];
  Result<Asked> asked = client.read_request(head, Slice::copy_of(request));
  if (!asked.ok()) {
    ASSERT(asked.error().code == Code::kInvalid && !asked.error().message.empty());
    return 0;
  }
  asked.value().key.target = head.target;
  const Result<CallKey> key = CallKey::decode(asked.value().key.encode());
  ASSERT(key.ok() && key.value().params == asked.value().key.params);
  std::vector<CallRow> rows;
  std::vector<Output> engine;
  const float scores[] = {0.5F, -1.0F};
  for (const Row& row : asked.value().rows) {
    rows.push_back(
        {1 + rows.size() / 2, static_cast<uint32_t>(rows.size()), {}, row.wire, row.flags});
    engine.emplace_back(Slice::copy_of({reinterpret_cast<const char*>(scores), sizeof scores}));
  }
  ASSERT(!rows.empty());
  check_response(client, asked.value(), engine);
  if (upstream.operation() != client.operation()) return 0;
  const Result<CallRequest> call = upstream.write_call(key.value(), rows);
  if (call.ok()) check_json(call.value().body);
  if (!call.ok()) ASSERT(call.error().code == Code::kInvalid);
  check_answer(client, upstream, asked.value(), rows, Slice::copy_of(answer));
  return 0;
}
