// SPDX-License-Identifier: Apache-2.0
#pragma once
// Error: why something could not be done. A code says what the caller can do about it; each code
// has one HTTP status, in one table.

#include <string>
#include <string_view>

#include "base/chunk.h"
#include "base/time.h"

namespace sluice {

// One value per thing a caller can do about a failure.
enum class Code {
  kInvalid,           // 400: change the request
  kUnauthorized,      // 401: bring other credentials
  kForbidden,         // 403: ask for something else
  kNotFound,          // 404: use another name or path
  kMethodNotAllowed,  // 405: use another method
  kClientTimeout,     // 408: send faster
  kTooLarge,          // 413: send less
  kMediaType,         // 415: send the body in another form
  kUriTooLong,        // 414: ask for a shorter target
  kExpectation,       // 417: leave the Expect header out
  kOverloaded,        // 429: come back after Error::retry_after
  kHeadersTooLarge,   // 431: send fewer or shorter headers
  kInternal,          // 500: nothing; it is ours
  kNotImplemented,    // 501: do without
  kUpstream,          // 502: nothing; what is behind us answered wrongly
  kUnavailable,       // 503: come back after Error::retry_after (draining, starting)
  kTimeout,           // 504: allow more time
  kHttpVersion,       // 505: speak HTTP/1.1
};

// The HTTP status of `code`, e.g. 429.
int http_status(Code code);
// The reason phrase that goes with an HTTP status, e.g. "Too Many Requests"; "Unknown" for others.
std::string_view http_reason(int status);

struct Error {
  Code code = Code::kInternal;
  std::string message;     // for people; one sentence, never parsed
  std::string param = {};  // the field of the request that is at fault, e.g. "input"; may be empty
  Duration retry_after = {};  // for kOverloaded and kUnavailable; zero when not known
  // What an upstream answered, where it answered at all: its status (0: none), and its body with
  // its type. A caller whose request alone was at fault gets both as they came.
  int upstream_status = 0;
  Slice upstream_body = {};
  std::string upstream_type = {};
};

}  // namespace sluice
