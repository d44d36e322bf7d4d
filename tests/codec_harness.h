// SPDX-License-Identifier: Apache-2.0
#pragma once
// Helpers for tests of codecs: requests as text in, bodies as text out.

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "backends/dialect.h"

namespace sluice {

inline RequestHead post(std::string_view target) {
  RequestHead head;
  head.method = "POST";
  head.target = target;
  return head;
}

// Reads a request as the server would, the target in the key.
inline Result<Asked> ask(const Codec& codec, std::string_view target, std::string_view body) {
  Result<Asked> asked = codec.read_request(post(target), Slice::copy_of(body));
  if (asked.ok()) asked.value().key.target = target;
  return asked;
}

// The same of a request that must be accepted.
inline Asked asked(const Codec& codec, std::string_view target, std::string_view body) {
  Result<Asked> got = ask(codec, target, body);
  CAPTURE(body);
  REQUIRE_MESSAGE(got.ok(), (got.ok() ? "" : got.error().message));
  return std::move(got).value();
}

inline void check_refused(const Codec& codec, std::string_view target, std::string_view body,
                          std::string_view param, std::string_view in_message = "") {
  CAPTURE(body);
  const Result<Asked> got = ask(codec, target, body);
  REQUIRE(!got.ok());
  CHECK(got.error().code == Code::kInvalid);
  CHECK(got.error().param == param);
  CHECK(got.error().message.find(in_message) != std::string::npos);
}

inline std::string text_of(const Body& body) {
  std::string text;
  for (const Slice& part : body.parts) text += part.view();
  return text;
}

// The rows of several requests as one call; request ids count from 1.
inline std::vector<CallRow> call_rows(std::span<const Asked> all) {
  std::vector<CallRow> rows;
  for (size_t i = 0; i < all.size(); ++i) {
    for (const Row& row : all[i].rows)
      rows.push_back({i + 1, static_cast<uint32_t>(rows.size()), {}, row.wire, row.flags});
  }
  return rows;
}

inline std::vector<CallRow> call_rows(const Asked& one) { return call_rows(std::span(&one, 1)); }

// The body of a call that must be possible.
inline std::string call_text(const Codec& codec, const CallKey& key,
                             std::span<const CallRow> rows) {
  const Result<CallRequest> call = codec.write_call(key, rows);
  REQUIRE_MESSAGE(call.ok(), (call.ok() ? "" : call.error().message));
  return text_of(call.value().body);
}

// The outputs of an answer that must be right.
inline std::vector<Output> outputs(const Codec& codec, const CallKey& key,
                                   std::span<const CallRow> rows, std::string_view body,
                                   std::span<const Header> headers = {}) {
  CAPTURE(body);
  const Result<std::vector<Outcome>> outcomes =
      codec.read_call(key, rows, {.headers = headers, .body = Slice::copy_of(body)});
  REQUIRE_MESSAGE(outcomes.ok(), (outcomes.ok() ? "" : outcomes.error().message));
  REQUIRE(outcomes.value().size() == rows.size());
  std::vector<Output> all;
  for (const Outcome& outcome : outcomes.value()) {
    REQUIRE(outcome.ok());
    all.push_back(outcome.value());
  }
  return all;
}

inline void check_wrong(const Codec& codec, std::span<const CallRow> rows, std::string_view body) {
  CAPTURE(body);
  const Result<std::vector<Outcome>> outcomes =
      codec.read_call({}, rows, {.headers = {}, .body = Slice::copy_of(body)});
  REQUIRE(!outcomes.ok());
  CHECK(outcomes.error().code == Code::kUpstream);
}

// The response to outputs, which must be possible.
inline std::string response(const Codec& codec, const Asked& request,
                            std::span<const Output> outputs,
                            std::span<const std::string> labels = {}) {
  uint64_t tokens = 0;
  for (const Output& output : outputs) tokens += output.tokens;
  const Result<Body> body =
      codec.write_response(request, {.outputs = outputs, .tokens = tokens, .labels = labels});
  REQUIRE_MESSAGE(body.ok(), (body.ok() ? "" : body.error().message));
  return text_of(body.value());
}

// What an engine gives.
inline Output floats(std::vector<float> numbers) {
  return Output(Slice::copy_of(
      {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float)}));
}

inline Output json_output(std::string_view text) {
  return Output(Slice::copy_of(text), Form::kJson);
}

}  // namespace sluice
