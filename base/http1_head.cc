// SPDX-License-Identifier: Apache-2.0
#include "base/http1_head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace sluice {
namespace http1 {
namespace {

Error invalid(std::string message) { return {Code::kInvalid, std::move(message)}; }

constexpr bool is_alnum(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// A set of bytes as a table.
constexpr std::array<bool, 256> alnum_and(std::string_view others) {
  std::array<bool, 256> set{};
  for (unsigned c = 0; c < 256; ++c) set[c] = is_alnum(static_cast<unsigned char>(c));
  for (const char c : others) set[static_cast<unsigned char>(c)] = true;
  return set;
}
constexpr std::array<bool, 256> kToken = alnum_and("!#$%&'*+-.^_`|~");
// A registered name (RFC 3986); without the comma, which joins repeated fields.
constexpr std::array<bool, 256> kRegisteredName = alnum_and("-._~%!$&'()*+;=");

bool all_in(std::string_view text, const std::array<bool, 256>& set) {
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return set[static_cast<unsigned char>(c)]; });
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Whether `authority` is a host and perhaps a port; a user name is refused (RFC 9110, 4.2.4).
bool is_authority(std::string_view authority) {
  size_t host_size = 0;
  if (!authority.empty() && authority.front() == '[') {
    host_size = authority.find(']');
    if (host_size == authority.npos) return false;
    const std::string_view address = authority.substr(1, host_size - 1);
    if (address.empty() || address.find_first_not_of("0123456789abcdefABCDEF:.") != address.npos) {
      return false;
    }
    ++host_size;
  } else {
    host_size = std::min(authority.find(':'), authority.size());
    if (host_size == 0 || !all_in(authority.substr(0, host_size), kRegisteredName)) return false;
  }
  if (host_size == authority.size()) return true;
  const std::string_view port = authority.substr(host_size + 1);
  if (authority[host_size] != ':' || port.size() > 5 || !all_digits(port)) return false;
  unsigned number = 0;
  std::from_chars(port.data(), port.data() + port.size(), number);
  return number <= 65535;
}

// Turns an absolute-form target into origin-form; its authority goes to `authority`.
std::optional<Error> read_absolute_target(std::string_view target, RequestHead& head,
                                          std::string_view& authority) {
  const size_t scheme_size = target.find("://");
  const std::string_view scheme = target.substr(0, std::min(scheme_size, target.size()));
  if (!equal_any_case(scheme, "http") && !equal_any_case(scheme, "https")) {
    return invalid("the request target is neither a path nor an http URL");
  }
  const std::string_view rest = target.substr(scheme_size + 3);
  const size_t authority_size = std::min(rest.find_first_of("/?"), rest.size());
  authority = rest.substr(0, authority_size);
  if (!is_authority(authority)) return invalid("the request target has an invalid authority");
  const std::string_view path = rest.substr(authority_size);
  if (path.empty() && head.method == "OPTIONS") {
    head.target = "*";
  } else {
    head.target = path.empty() || path.front() == '?' ? "/" : "";
    head.target.append(path);
  }
  return std::nullopt;
}

std::optional<Error> read_target(std::string_view target, RequestHead& head,
                                 std::string_view& authority) {
  const bool printable = std::all_of(target.begin(), target.end(),
                                     [](char c) { return c > ' ' && c < '\x7f' && c != '#'; });
  if (target.empty() || !printable) return invalid("the request target has an invalid character");
  if (target.front() != '/' && target != "*") return read_absolute_target(target, head, authority);
  if (target == "*" && head.method != "OPTIONS") return invalid("only OPTIONS may ask for *");
  head.target = target;
  return std::nullopt;
}

std::optional<Error> read_request_line(std::string_view line, RequestHead& head,
                                       std::string_view& authority) {
  const size_t first = line.find(' ');
  const size_t second = first == line.npos ? line.npos : line.find(' ', first + 1);
  if (second == line.npos || line.find(' ', second + 1) != line.npos) {
    return invalid("the request line is not a method, a target and a version");
  }
  const std::string_view version = line.substr(second + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return invalid("the version is neither HTTP/1.1 nor HTTP/1.0");
  }
  head.version_minor = version.back() == '1' ? 1 : 0;
  head.method = line.substr(0, first);
  if (!is_token(head.method)) return invalid("the method is not a token");
  if (head.method == "CONNECT") {
    return Error{Code::kNotImplemented, "CONNECT is not supported"};
  }
  return read_target(line.substr(first + 1, second - first - 1), head, authority);
}

// What the fields say that frame and route the message, gathered in one pass.
struct Meaning {
  std::string_view* host = nullptr;
  std::optional<std::string_view> content_length;
  std::optional<std::string_view> transfer_encoding;
  std::optional<std::string_view> expect;
  std::string_view upgrade;
  bool connection_close = false;
  bool connection_keep_alive = false;
  bool connection_upgrade = false;
};

std::optional<Error> set_once(std::optional<std::string_view>& field, const Header& header) {
  if (field.has_value()) return invalid("more than one " + std::string(header.name));
  field = header.value;
  return std::nullopt;
}

std::optional<Error> gather(Header& header, Meaning& meaning) {
  // Names of other lengths need no comparison.
  switch (header.name.size()) {
    case 4:
      if (!equal_any_case(header.name, "host")) break;
      if (meaning.host != nullptr) return invalid("more than one Host");
      meaning.host = &header.value;
      break;
    case 6:
      if (equal_any_case(header.name, "expect")) return set_once(meaning.expect, header);
      break;
    case 7:
      if (equal_any_case(header.name, "upgrade") && meaning.upgrade.empty()) {
        meaning.upgrade = header.value;
      }
      break;
    case 10:
      if (!equal_any_case(header.name, "connection")) break;
      for_each_element(header.value, [&](std::string_view option) {
        meaning.connection_close |= equal_any_case(option, "close");
        meaning.connection_keep_alive |= equal_any_case(option, "keep-alive");
        meaning.connection_upgrade |= equal_any_case(option, "upgrade");
      });
      break;
    case 14:
      if (!equal_any_case(header.name, "content-length")) break;
      return set_once(meaning.content_length, header);
    case 17:
      if (!equal_any_case(header.name, "transfer-encoding")) break;
      return set_once(meaning.transfer_encoding, header);
    default:
      break;
  }
  return std::nullopt;
}

// The only coding taken is chunked, once; others that are well-formed are not implemented.
std::optional<Error> read_transfer_encoding(std::string_view text, RequestHead& head) {
  if (head.version_minor == 0) return invalid("Transfer-Encoding in HTTP/1.0");
  if (equal_any_case(text, "chunked")) {
    head.chunked = true;
    return std::nullopt;
  }
  bool well_formed = true;
  bool chunked_before = false;
  for_each_element(text, [&](std::string_view coding) {
    const std::string_view name = trim(coding.substr(0, coding.find(';')));
    well_formed &= is_token(name) && !chunked_before;
    chunked_before |= equal_any_case(name, "chunked");
  });
  if (!well_formed) return invalid("invalid Transfer-Encoding");
  return Error{Code::kNotImplemented, "the only transfer coding supported is chunked"};
}

std::optional<Error> read_framing(const Meaning& meaning, const HttpLimits& limits,
                                  RequestHead& head) {
  if (meaning.transfer_encoding && meaning.content_length) {
    return invalid("both Transfer-Encoding and Content-Length");
  }
  if (meaning.transfer_encoding) return read_transfer_encoding(*meaning.transfer_encoding, head);
  if (!meaning.content_length) return std::nullopt;
  head.content_length = read_length(*meaning.content_length);
  if (!head.content_length) return invalid("invalid Content-Length");
  if (*head.content_length > limits.body_bytes_max) {
    return Error{Code::kTooLarge,
                 "the body is longer than " + std::to_string(limits.body_bytes_max) + " bytes"};
  }
  return std::nullopt;
}

std::optional<Error> read_host(const Meaning& meaning, std::string_view authority,
                               const RequestHead& head) {
  if (meaning.host == nullptr) {
    if (head.version_minor == 0) return std::nullopt;
    return invalid("no Host");
  }
  if (!is_authority(*meaning.host)) return invalid("invalid Host");
  // The authority of an absolute-form target is the one that counts (RFC 9112, 3.2.2).
  if (!authority.empty()) *meaning.host = authority;
  return std::nullopt;
}

}  // namespace

bool is_token(std::string_view text) { return !text.empty() && all_in(text, kToken); }

bool equal_any_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<uint64_t> read_length(std::string_view text) {
  uint64_t length = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), length);
  if (!all_digits(text) || parsed.ec != std::errc()) return std::nullopt;
  return length;
}

std::optional<FieldAt> read_field(std::string_view line, size_t offset) {
  size_t colon = 0;
  while (colon < line.size() && kToken[static_cast<unsigned char>(line[colon])]) ++colon;
  if (colon == 0 || colon == line.size() || line[colon] != ':') return std::nullopt;
  const std::string_view value = trim(line.substr(colon + 1));
  // An empty value lies behind the colon, wherever trim() has left it.
  const size_t value_at =
      value.empty() ? colon + 1 : static_cast<size_t>(value.data() - line.data());
  return FieldAt{static_cast<uint32_t>(offset), static_cast<uint32_t>(colon),
                 static_cast<uint32_t>(offset + value_at), static_cast<uint32_t>(value.size())};
}

std::optional<Error> read_head(std::string_view request_line, std::span<const FieldAt> fields,
                               const HttpLimits& limits, RequestHead& head) {
  std::string_view authority;
  if (auto error = read_request_line(request_line, head, authority)) return error;
  const std::string_view bytes = head.bytes.view();
  head.headers.reserve(fields.size());
  for (const FieldAt& at : fields) {
    head.headers.push_back(
        {bytes.substr(at.name, at.name_size), bytes.substr(at.value, at.value_size)});
  }
  Meaning meaning;
  for (Header& header : head.headers) {
    if (auto error = gather(header, meaning)) return error;
  }
  if (auto error = read_host(meaning, authority, head)) return error;
  if (auto error = read_framing(meaning, limits, head)) return error;
  const bool modern = head.version_minor == 1;
  head.keep_alive = !meaning.connection_close && (modern || meaning.connection_keep_alive);
  if (modern && meaning.connection_upgrade) head.upgrade = meaning.upgrade;
  if (modern && meaning.expect) {
    if (!equal_any_case(*meaning.expect, "100-continue")) {
      return Error{Code::kExpectation, "the only expectation supported is 100-continue"};
    }
    head.expects_continue = head.chunked || head.content_length.value_or(0) > 0;
  }
  return std::nullopt;
}

}  // namespace http1

std::optional<std::string_view> RequestHead::find(std::string_view name) const {
  for (const Header& header : headers) {
    if (http1::equal_any_case(header.name, name)) return header.value;
  }
  return std::nullopt;
}

std::string_view RequestHead::path() const {
  return std::string_view(target).substr(0, target.find('?'));
}

}  // namespace sluice
