// SPDX-License-Identifier: Apache-2.0
// Bytes of strangers on both sides of the Open Inference Protocol. The first byte says how long the
// JSON is and which side they are on: 0 and 1 JSON only, else up to the first line feed; even
// numbers are requests, odd ones answers.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backends/dialect_oip.h"
#include "base/assert.h"
#include "base/json.h"

using namespace sluice;

namespace {

constexpr std::string_view kLength = "Inference-Header-Content-Length";

std::string text_of(const Body& body) {
  std::string text;
  for (const Slice& part : body.parts) text += part.view();
  return text;
}

// Reads a request; one that is accepted must come back from its own call unchanged.
void request(const Codec& codec, const RequestHead& head, const Slice& body) {
  const Result<Asked> asked = codec.read_request(head, body);
  if (!asked.ok()) {
    ASSERT(asked.error().code == Code::kInvalid && !asked.error().message.empty());
    ASSERT(parse_json(Slice::copy_of(oip_dialect().write_error(asked.error(), ""))).ok());
    return;
  }
  ASSERT(asked.value().pass_through == asked.value().rows.empty());
  if (asked.value().pass_through) return;
  std::vector<CallRow> rows;
  for (const Row& row : asked.value().rows)
    rows.push_back({.request = 1, .index = 0, .payload = {}, .wire = row.wire});
  const Result<CallRequest> call = codec.write_call(asked.value().key, rows);
  ASSERT(call.ok());
  RequestHead again;
  again.target = head.target;
  for (const auto& [name, value] : call.value().body.headers)
    again.headers.push_back({name, value});
  const Result<Asked> read = codec.read_request(again, Slice::copy_of(text_of(call.value().body)));
  ASSERT(read.ok() && read.value().rows.size() == rows.size());
  ASSERT(read.value().key.encode() == asked.value().key.encode());
  for (size_t i = 0; i < rows.size(); ++i)
    ASSERT(read.value().rows[i].wire.view() == rows[i].wire.view());
}

// Reads an answer to a call of two rows; one that is accepted can be given to a caller.
void answer(const Codec& codec, const RequestHead& head, const Slice& body) {
  const std::vector<CallRow> rows(2);
  const auto outcomes = codec.read_call({}, rows, {.headers = head.headers, .body = body});
  if (!outcomes.ok()) {
    ASSERT(outcomes.error().code == Code::kUpstream);
    return;
  }
  ASSERT(outcomes.value().size() == rows.size());
  std::vector<Output> outputs;
  for (const Outcome& outcome : outcomes.value()) outputs.push_back(outcome.value());
  Asked asked;
  asked.shape.id = "i";
  ASSERT(codec.write_response(asked, {.outputs = outputs, .labels = {}}).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  RequestHead head;
  head.target = "/v2/models/m/infer";
  std::string length;
  if (data[0] > 1) {
    // The JSON ends at the first line feed, which is taken out.
    const size_t end = std::min(bytes.find('\n'), bytes.size());
    if (end < bytes.size()) bytes.erase(end, 1);
    length = std::to_string(end);
    head.headers.push_back({kLength, length});
  }
  const Codec& codec = *oip_dialect().upstream_codec(Operation::kInfer);
  const Slice body = Slice::copy_of(bytes);
  if (data[0] % 2 == 0) {
    request(codec, head, body);
  } else {
    answer(codec, head, body);
  }
  return 0;
}
