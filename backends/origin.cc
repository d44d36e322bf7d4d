// SPDX-License-Identifier: Apache-2.0
// Base URLs (RFC 3986), as strictly as a configuration deserves.
#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "backends/dial.h"

namespace sluice {

namespace {

Error invalid(const char* what) {
  return {.code = Code::kInvalid,
          .message = std::string("must be a URL such as http://host:8000; ") + what};
}

bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

char lower(char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); }

// Takes "http://" or "https://" off `url`.
Result<bool> take_scheme(std::string_view& url) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (url.size() < scheme.size()) continue;
    if (!std::equal(scheme.begin(), scheme.end(), url.begin(),
                    [](char a, char b) { return a == lower(b); }))
      continue;
    url.remove_prefix(scheme.size());
    return scheme.size() == 8;
  }
  return invalid("it must begin with http:// or https://");
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }
bool is_hex(char c) { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f'); }

// Calls `take` with each part of `text` between two separators until one returns a reason.
template <typename Take>
const char* first_wrong(std::string_view text, char separator, Take take) {
  while (true) {
    const size_t end = text.find(separator);
    if (const char* wrong = take(text.substr(0, end))) return wrong;
    if (end == std::string_view::npos) return nullptr;
    text.remove_prefix(end + 1);
  }
}

// What is wrong with a host that is a name or an IPv4 address; null if nothing. Other ways to write
// numbers ("127.1", "0x7f.1") are refused, since readers differ in what they mean.
const char* wrong_host(std::string_view host) {
  std::string_view labels = host;
  if (labels.size() > 1 && labels.ends_with('.')) labels.remove_suffix(1);
  const std::string_view last = labels.substr(labels.rfind('.') + 1);
  const bool number =
      !last.empty() && is_digit(last.front()) &&
      (std::ranges::all_of(last, is_digit) || last.starts_with("0x") || last.starts_with("0X"));
  if (number) {
    in_addr address = {};
    const bool good = inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
    return good ? nullptr : "the host is neither a name nor an IPv4 address";
  }
  return first_wrong(labels, '.', [](std::string_view label) -> const char* {
    if (label.empty() || label.size() > 63) return "the host has an empty or too long label";
    const bool good = std::ranges::all_of(
        label, [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; });
    return good ? nullptr : "the host has a character that no host has";
  });
}

// The same for a path that begins with '/' and ends in none; it is put before others as it is.
const char* wrong_prefix(std::string_view path) {
  if (path.empty()) return nullptr;
  return first_wrong(path.substr(1), '/', [](std::string_view segment) -> const char* {
    if (segment.empty()) return "its path has an empty segment";
    std::string plain;  // with %2e read as the dot it is
    for (size_t i = 0; i < segment.size(); ++i) {
      const char c = segment[i];
      if (c != '%') {
        const bool good = is_letter(c) || is_digit(c) ||
                          std::string_view("-._~!$&'()*+,;=:@").find(c) != std::string_view::npos;
        if (!good) return "its path has a character that must be written as %XX";
        plain += c;
        continue;
      }
      if (segment.size() - i < 3 || !is_hex(segment[i + 1]) || !is_hex(segment[i + 2]))
        return "its path has a % without two hexadecimal digits";
      plain += segment[i + 1] == '2' && lower(segment[i + 2]) == 'e' ? '.' : c;
      i += 2;
    }
    return plain == "." || plain == ".." ? "its path has a segment of dots" : nullptr;
  });
}

// Reads "host", "host:port" or "[v6]:port".
std::optional<Error> read_authority(std::string_view authority, Origin& origin) {
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return invalid("a \"[\" is not closed");
    origin.host = authority.substr(1, close - 1);
    in6_addr address = {};
    if (inet_pton(AF_INET6, origin.host.c_str(), &address) != 1)
      return invalid("only IPv6 addresses stand in brackets");
    port = authority.substr(close + 1);
    if (!port.empty() && port.front() != ':') return invalid("after \"]\" only a port may follow");
  } else {
    const size_t colon = authority.find(':');
    origin.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon);
    if (const char* wrong = wrong_host(origin.host)) return invalid(wrong);
  }
  if (origin.host.empty() || origin.host.size() > 253)
    return invalid("the host is missing or too long");
  if (port.empty()) return std::nullopt;
  port.remove_prefix(1);
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), origin.port);
  if (failure != std::errc() || end != port.data() + port.size() || origin.port == 0)
    return invalid("the port must be 1 to 65535");
  return std::nullopt;
}

}  // namespace

Result<Origin> parse_origin(std::string_view url) {
  constexpr size_t kBytesMax = 2000;
  if (url.size() > kBytesMax) return invalid("it is too long");
  if (!std::ranges::all_of(url, is_visible)) return invalid("it has blanks or odd characters");
  const Result<bool> tls = take_scheme(url);
  if (!tls.ok()) return tls.error();
  Origin origin;
  origin.tls = tls.value();
  const uint16_t usual = origin.tls ? 443 : 80;
  origin.port = usual;
  if (url.find_first_of("?#") != std::string_view::npos)
    return invalid("it must have neither query nor fragment");
  const size_t slash = url.find('/');
  const std::string_view authority = url.substr(0, slash);
  if (authority.find('@') != std::string_view::npos)
    return invalid("it must hold no user name: set an authorization header instead");
  if (auto error = read_authority(authority, origin)) return std::move(*error);
  if (slash != std::string_view::npos) origin.prefix = url.substr(slash);
  while (origin.prefix.ends_with('/')) origin.prefix.pop_back();
  if (const char* wrong = wrong_prefix(origin.prefix)) return invalid(wrong);
  const bool v6 = origin.host.find(':') != std::string::npos;
  origin.authority = v6 ? "[" + origin.host + "]" : origin.host;
  if (origin.port != usual) origin.authority += ":" + std::to_string(origin.port);
  return origin;
}

}  // namespace sluice
