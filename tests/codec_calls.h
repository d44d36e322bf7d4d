// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests of codecs: requests without sockets, and calls that merge them.

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "backends/dialect.h"

namespace sluice::calls {

// A POST. The headers' views must outlive it.
inline RequestHead post(std::string target, std::vector<Header> headers = {}) {
  RequestHead head;
  head.method = "POST";
  head.target = std::move(target);
  head.headers = std::move(headers);
  return head;
}

inline std::string text_of(const Body& body) {
  std::string text;
  for (const Slice& part : body.parts) text += part.view();
  return text;
}

// The value of a header that a body brings with it, or nothing.
inline std::string header_of(const Body& body, std::string_view name) {
  for (const auto& [key, value] : body.headers) {
    if (key == name) return value;
  }
  return {};
}

// The rows of requests, one request after the other.
inline std::vector<CallRow> rows_of(const std::vector<Asked>& requests) {
  std::vector<CallRow> rows;
  for (size_t request = 0; request < requests.size(); ++request) {
    for (size_t i = 0; i < requests[request].rows.size(); ++i) {
      rows.push_back({.request = request,
                      .index = static_cast<uint32_t>(i),
                      .payload = {},
                      .wire = requests[request].rows[i].wire});
    }
  }
  return rows;
}

// The request's outputs, taken off the front of `outcomes`.
inline std::vector<Output> take_outputs(std::vector<Outcome>& outcomes, size_t count) {
  std::vector<Output> outputs;
  REQUIRE(outcomes.size() >= count);
  for (size_t i = 0; i < count; ++i) {
    REQUIRE(outcomes[i].ok());
    outputs.push_back(outcomes[i].value());
  }
  outcomes.erase(outcomes.begin(), outcomes.begin() + static_cast<ptrdiff_t>(count));
  return outputs;
}

inline void check_invalid(const Result<Asked>& asked, std::string_view param) {
  REQUIRE(!asked.ok());
  CHECK(asked.error().code == Code::kInvalid);
  CHECK(asked.error().param == param);
  CHECK(!asked.error().message.empty());
}

// The error of reading `body` as an answer to a call with `rows`.
inline void check_wrong_answer(const Codec& codec, const CallKey& key,
                               const std::vector<CallRow>& rows, std::string_view body,
                               const std::vector<Header>& headers = {}) {
  CAPTURE(body);
  const auto outcomes =
      codec.read_call(key, rows, {.headers = headers, .body = Slice::copy_of(body)});
  REQUIRE(!outcomes.ok());
  CHECK(outcomes.error().code == Code::kUpstream);
  CHECK(!outcomes.error().message.empty());
}

}  // namespace sluice::calls
