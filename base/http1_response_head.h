// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the lines of a response's head mean (RFC 9112 sections 4, 6 and 9). Pure functions; used by
// http1_response.cc, which finds the lines.

#include <optional>
#include <span>
#include <string_view>

#include "base/http1_head.h"
#include "base/http1_response.h"

namespace sluice::http1 {

// Fills `head`, whose `bytes` are set, from its parts: the status line without CRLF, and where the
// fields are. `bodiless` is whether the request's method
// leaves its response without a body. The Error if the response must not be believed; kTooLarge if
// it declares more than `body_bytes_max`.
std::optional<Error> read_response_head(std::string_view status_line,
                                        std::span<const FieldAt> fields, bool bodiless,
                                        uint64_t body_bytes_max, UpstreamHead& head);

}  // namespace sluice::http1
