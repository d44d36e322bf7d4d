// SPDX-License-Identifier: Apache-2.0
#include "base/http1_response_head.h"

#include <string>
#include <utility>

namespace sluice {
namespace http1 {
namespace {

Error wrong(std::string message) { return {Code::kUpstream, std::move(message)}; }

// "HTTP/1.1 200 OK"; the reason may be missing, and the blank before it with it.
std::optional<Error> read_status_line(std::string_view line, UpstreamHead& head) {
  constexpr std::string_view kVersion = "HTTP/1.";
  if (!line.starts_with(kVersion) || line.size() < 12 || line[8] != ' ' ||
      (line[7] != '0' && line[7] != '1')) {
    return wrong("the upstream's answer does not begin with HTTP/1.1 or HTTP/1.0 and a status");
  }
  head.version_minor = line[7] == '1' ? 1 : 0;
  head.status = 0;
  for (const char c : line.substr(9, 3)) {
    if (c < '0' || c > '9') return wrong("the upstream's status is not three digits");
    head.status = head.status * 10 + (c - '0');
  }
  if (head.status < 100 || (line.size() > 12 && line[12] != ' ')) {
    return wrong("the upstream's status is not three digits");
  }
  head.reason = line.size() > 13 ? line.substr(13) : std::string_view();
  return std::nullopt;
}

// What the fields say about framing, gathered in one pass.
struct Meaning {
  std::optional<std::string_view> content_length;
  std::optional<std::string_view> transfer_encoding;
  bool close = false;
  bool keep_alive = false;
};

std::optional<Error> gather(const Header& header, Meaning& meaning) {
  // Names of other lengths need no comparison.
  switch (header.name.size()) {
    case 10:
      if (!equal_any_case(header.name, "connection")) break;
      for_each_element(header.value, [&](std::string_view option) {
        meaning.close |= equal_any_case(option, "close");
        meaning.keep_alive |= equal_any_case(option, "keep-alive");
      });
      break;
    case 14:
      if (!equal_any_case(header.name, "content-length")) break;
      // Said twice and the same is a fault of some servers that leaves no doubt.
      if (meaning.content_length.value_or(header.value) != header.value) {
        return wrong("the upstream sent two different Content-Length");
      }
      meaning.content_length = header.value;
      break;
    case 17:
      if (!equal_any_case(header.name, "transfer-encoding")) break;
      if (meaning.transfer_encoding) return wrong("the upstream sent two Transfer-Encoding");
      meaning.transfer_encoding = header.value;
      break;
    default:
      break;
  }
  return std::nullopt;
}

// Judges the framing fields even where the response has no body: they go to clients.
std::optional<Error> check_framing(const Meaning& meaning, const UpstreamHead& head) {
  if (!meaning.transfer_encoding) {
    if (!meaning.content_length || read_length(*meaning.content_length)) return std::nullopt;
    return wrong("the upstream sent an invalid Content-Length");
  }
  if (meaning.content_length) {
    return wrong("the upstream sent both Transfer-Encoding and Content-Length");
  }
  if (head.version_minor == 0) return wrong("the upstream sent Transfer-Encoding in HTTP/1.0");
  if (!equal_any_case(*meaning.transfer_encoding, "chunked")) {
    return wrong("the upstream sent a Transfer-Encoding that is not chunked");
  }
  return std::nullopt;
}

}  // namespace

std::optional<Error> read_response_head(std::string_view status_line,
                                        std::span<const FieldAt> fields, bool bodiless,
                                        uint64_t body_bytes_max, UpstreamHead& head) {
  if (auto error = read_status_line(status_line, head)) return error;
  const std::string_view bytes = head.bytes.view();
  Meaning meaning;
  head.headers.clear();
  head.headers.reserve(fields.size());
  for (const FieldAt& at : fields) {
    head.headers.push_back(
        {bytes.substr(at.name, at.name_size), bytes.substr(at.value, at.value_size)});
    if (auto error = gather(head.headers.back(), meaning)) return error;
  }
  if (auto error = check_framing(meaning, head)) return error;
  const bool empty = bodiless || head.status < 200 || head.status == 204 || head.status == 304;
  head.chunked = !empty && meaning.transfer_encoding.has_value();
  head.until_close = !empty && !meaning.transfer_encoding && !meaning.content_length;
  head.content_length = std::nullopt;
  if (empty) head.content_length = 0;
  if (!empty && meaning.content_length) head.content_length = read_length(*meaning.content_length);
  head.keep_alive = !meaning.close && !head.until_close && head.status != 101 &&
                    (head.version_minor == 1 || meaning.keep_alive);
  if (head.content_length.value_or(0) > body_bytes_max) {
    return Error{Code::kTooLarge, "the upstream's answer is longer than " +
                                      std::to_string(body_bytes_max) + " bytes"};
  }
  return std::nullopt;
}

}  // namespace http1

std::optional<std::string_view> UpstreamHead::find(std::string_view name) const {
  for (const Header& header : headers) {
    if (http1::equal_any_case(header.name, name)) return header.value;
  }
  return std::nullopt;
}

}  // namespace sluice
