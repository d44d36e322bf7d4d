// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the lines of a request's head mean (RFC 9112 sections 3, 5, 6 and 9). Pure functions; used
// by http1.cc, which finds the lines.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/http1.h"

namespace sluice::http1 {

// Whether `text` is one or more token characters (RFC 9110, 5.6.2).
bool is_token(std::string_view text);
// Whether the two are equal but for the case of ASCII letters.
bool equal_any_case(std::string_view a, std::string_view b);
// `text` without blanks and tabs around it.
std::string_view trim(std::string_view text);
// The value of a Content-Length: decimal digits and nothing else, below 2^64.
std::optional<uint64_t> read_length(std::string_view text);

// Calls `visit` for each element of a comma-separated list, empty ones included.
template <typename Visit>
void for_each_element(std::string_view list, Visit visit) {
  for (;;) {
    const size_t comma = std::min(list.find(','), list.size());
    visit(trim(list.substr(0, comma)));
    if (comma == list.size()) return;
    list.remove_prefix(comma + 1);
  }
}

// Where the name and the value of a header field lie, as offsets into the head.
struct FieldAt {
  uint32_t name = 0;
  uint32_t name_size = 0;
  uint32_t value = 0;
  uint32_t value_size = 0;
};

// Reads the header field `line`, which begins at `offset` of the head, has no control characters
// but tabs and is not empty. Nothing if it is not exactly `token ":" value`.
std::optional<FieldAt> read_field(std::string_view line, size_t offset);

// Fills `head`, whose `bytes` are set, from its parts: the request line without CRLF, and where the
// fields are. An Error if the request must be refused.
std::optional<Error> read_head(std::string_view request_line, std::span<const FieldAt> fields,
                               const HttpLimits& limits, RequestHead& head);

}  // namespace sluice::http1
