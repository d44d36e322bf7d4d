// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/http1.h"
#include "base/http1_head.h"

namespace sluice {
namespace {

// Whether a header may be written: it cannot end the line early, and does not speak of framing.
bool is_writable(std::string_view name, std::string_view value, int status) {
  constexpr std::string_view kForbidden("\r\n\0", 3);
  if (!http1::is_token(name) || value.find_first_of(kForbidden) != value.npos) return false;
  // A 101 must say "Connection: upgrade".
  if (status != 101 && http1::equal_any_case(name, "connection")) return false;
  return !http1::equal_any_case(name, "content-length") &&
         !http1::equal_any_case(name, "transfer-encoding");
}

}  // namespace

void write_response_head(std::string& out, const ResponseHead& head,
                         const ResponseFraming& framing) {
  const auto line = [&out](std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
  };
  out.append("HTTP/1.1 ").append(std::to_string(head.status)).append(" ");
  out.append(http_reason(head.status)).append("\r\n");
  for (const auto& [name, value] : head.headers) {
    const bool twice = !framing.date.empty() && http1::equal_any_case(name, "date");
    if (!twice && is_writable(name, value, head.status)) line(name, value);
  }
  if (!framing.date.empty()) line("Date", framing.date);
  const bool interim = head.status < 200;
  if (!interim && head.status != 204 && head.status != 304) {
    line("Content-Length", std::to_string(framing.content_length));
  }
  if (!interim && !framing.keep_alive) {
    line("Connection", "close");
  } else if (!interim && framing.version_minor == 0) {
    line("Connection", "keep-alive");
  }
  out.append("\r\n");
}

}  // namespace sluice
