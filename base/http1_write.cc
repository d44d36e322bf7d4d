// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "base/http1.h"
#include "base/http1_head.h"

namespace sluice {
namespace {

// Whether write_response_head() alone says it.
bool is_framing(std::string_view name) {
  switch (name.size()) {
    case 4:
      return http1::equal_any_case(name, "date");
    case 10:
      return http1::equal_any_case(name, "connection");
    case 14:
      return http1::equal_any_case(name, "content-length");
    case 17:
      return http1::equal_any_case(name, "transfer-encoding");
    default:
      return false;
  }
}

bool ends_line(char c) { return c == '\r' || c == '\n' || c == '\0'; }

void append_number(std::string& out, uint64_t number) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof(digits), number).ptr);
}

// Calls `visit(line, name, value)`, the line with its CRLF, until it returns false.
template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n') + 1);
    const size_t colon = line.find(':');
    if (!visit(line, line.substr(0, colon), line.substr(colon + 2, line.size() - colon - 4)))
      return;
    text.remove_prefix(line.size());
  }
}

}  // namespace

void HeaderLines::add(std::string_view name, std::string_view value) {
  if (!http1::is_token(name) || is_framing(name) || std::ranges::any_of(value, ends_line)) return;
  constexpr size_t kUsualBytes = 256;  // of all lines of an answer
  if (text_.empty()) text_.reserve(kUsualBytes);
  text_.append(name).append(": ").append(value).append("\r\n");
}

void HeaderLines::set(std::string_view name, std::string_view value) {
  std::string others;
  for_each_line(text_, [&](std::string_view line, std::string_view other, std::string_view) {
    if (!http1::equal_any_case(name, other)) others.append(line);
    return true;
  });
  text_ = std::move(others);
  add(name, value);
}

std::optional<std::string_view> HeaderLines::find(std::string_view name) const {
  std::optional<std::string_view> found;
  for_each_line(text_, [&](std::string_view, std::string_view other, std::string_view value) {
    if (http1::equal_any_case(name, other)) found = value;
    return !found.has_value();
  });
  return found;
}

void write_response_head(std::string& out, int status, const HeaderLines& headers,
                         const ResponseFraming& framing) {
  constexpr size_t kFramingBytesMax = 160;  // what is added here, at most
  out.reserve(out.size() + headers.text().size() + kFramingBytesMax);
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<uint64_t>(status));
  out.append(" ").append(http_reason(status)).append("\r\n").append(headers.text());
  if (!framing.date.empty()) out.append("Date: ").append(framing.date).append("\r\n");
  const bool interim = status < 200;
  if (!interim && status != 204 && status != 304) {
    out.append("Content-Length: ");
    append_number(out, framing.content_length);
    out.append("\r\n");
  }
  if (!interim && !framing.keep_alive) {
    out.append("Connection: close\r\n");
  } else if (!interim && framing.version_minor == 0) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
}

}  // namespace sluice
