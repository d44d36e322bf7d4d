// SPDX-License-Identifier: Apache-2.0
// Bytes of strangers on both sides of KServe v1 and of configurable JSON. The first byte chooses
// the dialect, and then the side: even numbers are requests.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "backends/dialect_json.h"
#include "backends/dialect_kserve.h"
#include "base/assert.h"
#include "base/json.h"

using namespace sluice;

namespace {

std::string text_of(const Body& body) {
  std::string text;
  for (const Slice& part : body.parts) text += part.view();
  return text;
}

// Reads a request; one that is accepted must come back from its own call unchanged.
void request(const Dialect& dialect, const RequestHead& head, const Slice& body) {
  const Codec& codec = *dialect.upstream_codec(Operation::kPredict);
  const Result<Asked> asked = codec.read_request(head, body);
  if (!asked.ok()) {
    ASSERT(asked.error().code == Code::kInvalid && !asked.error().message.empty());
    ASSERT(parse_json(Slice::copy_of(dialect.write_error(asked.error(), ""))).ok());
    return;
  }
  ASSERT(asked.value().pass_through == asked.value().rows.empty());
  if (asked.value().pass_through) return;
  std::vector<CallRow> rows;
  for (const Row& row : asked.value().rows)
    rows.push_back({.request = 1, .index = 0, .payload = {}, .wire = row.wire});
  const Result<CallRequest> call = codec.write_call(asked.value().key, rows);
  ASSERT(call.ok());
  const std::string text = text_of(call.value().body);
  ASSERT(parse_json(Slice::copy_of(text)).ok());
  if (asked.value().shape.single) return;
  const Result<Asked> read = codec.read_request(head, Slice::copy_of(text));
  ASSERT(read.ok() && read.value().rows.size() == rows.size());
  ASSERT(read.value().key.encode() == asked.value().key.encode());
  for (size_t i = 0; i < rows.size(); ++i)
    ASSERT(read.value().rows[i].wire.view() == rows[i].wire.view());
}

// Reads an answer to a call of one row; one that is accepted can be given to a caller.
void answer(const Dialect& dialect, Operation operation, const Slice& body) {
  const Codec& codec = *dialect.upstream_codec(operation);
  const std::vector<CallRow> rows(1);
  const auto outcomes = codec.read_call({}, rows, {.headers = {}, .body = body});
  if (!outcomes.ok()) {
    ASSERT(outcomes.error().code == Code::kUpstream);
    return;
  }
  ASSERT(outcomes.value().size() == 1);
  const std::vector<Output> outputs = {outcomes.value()[0].value()};
  const auto written = codec.write_response({}, {.outputs = outputs, .labels = {}});
  ASSERT(written.ok() && parse_json(Slice::copy_of(text_of(written.value()))).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto plain = make_json_dialect({});
  static const auto placed = make_json_dialect({.items = "/in/list", .answers = "/out"});
  static const auto single = make_json_dialect({.items = "/in", .answers = "/0", .single = true});
  if (size == 0) return 0;
  const Dialect* const dialects[] = {&kserve_dialect(), plain.get(), placed.get(), single.get()};
  const Dialect& dialect = *dialects[data[0] / 2 % 4];
  const Slice body = Slice::copy_of({reinterpret_cast<const char*>(data) + 1, size - 1});
  RequestHead head;
  head.target = "/v1/models/m:predict";
  if (data[0] % 2 == 0) {
    request(dialect, head, body);
  } else {
    constexpr Operation kOperations[] = {Operation::kPredict, Operation::kEmbed,
                                         Operation::kClassify};
    answer(dialect, kOperations[data[0] / 8 % 3], body);
  }
  return 0;
}
