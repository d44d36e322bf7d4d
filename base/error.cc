// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include "base/assert.h"

namespace sluice {
namespace {

struct Row {
  Code code;
  int status;
};

// The one table from codes to HTTP. Reason phrases are RFC 9110's (section 15).
constexpr Row kStatus[] = {
    {Code::kInvalid, 400},     {Code::kUnauthorized, 401},     {Code::kForbidden, 403},
    {Code::kNotFound, 404},    {Code::kMethodNotAllowed, 405}, {Code::kClientTimeout, 408},
    {Code::kTooLarge, 413},    {Code::kUriTooLong, 414},       {Code::kMediaType, 415},
    {Code::kExpectation, 417}, {Code::kOverloaded, 429},       {Code::kHeadersTooLarge, 431},
    {Code::kInternal, 500},    {Code::kNotImplemented, 501},   {Code::kUpstream, 502},
    {Code::kUnavailable, 503}, {Code::kTimeout, 504},          {Code::kHttpVersion, 505},
};

struct Reason {
  int status;
  std::string_view phrase;
};

constexpr Reason kReason[] = {
    {100, "Continue"},
    {200, "OK"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {414, "URI Too Long"},
    {417, "Expectation Failed"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

}  // namespace

int http_status(Code code) {
  for (const Row& row : kStatus) {
    if (row.code == code) return row.status;
  }
  ASSERT(false && "every Code has a row");
}

std::string_view http_reason(int status) {
  for (const Reason& reason : kReason) {
    if (reason.status == status) return reason.phrase;
  }
  return "Unknown";
}

}  // namespace sluice
