// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "base/http1_head.h"
#include "base/http1_response.h"

namespace sluice {
namespace {

// Whether a header may be written: it cannot end its line early.
bool is_writable(const Header& header) {
  constexpr std::string_view kForbidden("\r\n\0", 3);
  return http1::is_token(header.name) &&
         header.value.find_first_of(kForbidden) == std::string::npos;
}

void write_headers(std::string& out, std::span<const Header> headers) {
  for (const Header& header : headers) {
    if (!is_writable(header)) continue;
    out.append(header.name).append(": ").append(header.value).append("\r\n");
  }
  out.append("\r\n");
}

}  // namespace

void write_request_head(std::string& out, const RequestLine& line,
                        std::span<const Header> headers) {
  size_t size = line.method.size() + line.target.size() + 16;
  for (const Header& header : headers) size += header.name.size() + header.value.size() + 4;
  out.reserve(out.size() + size);
  out.append(line.method).append(" ").append(line.target).append(" HTTP/1.1\r\n");
  write_headers(out, headers);
}

void write_chunk_size(std::string& out, uint64_t bytes) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof(digits), bytes, 16).ptr;
  out.append(digits, end).append("\r\n");
}

void write_last_chunk(std::string& out, std::span<const Header> trailers) {
  out.append("0\r\n");
  write_headers(out, trailers);
}

}  // namespace sluice
