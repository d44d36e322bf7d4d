// SPDX-License-Identifier: Apache-2.0
// Base URLs (RFC 3986), as strictly as a configuration deserves.
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

// Reads "host", "host:port" or "[v6]:port".
std::optional<Error> read_authority(std::string_view authority, Origin& origin) {
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return invalid("a \"[\" is not closed");
    origin.host = authority.substr(1, close - 1);
    const bool v6 = std::ranges::all_of(origin.host, [](char c) {
      return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f') || c == ':' || c == '.';
    });
    if (!v6 || origin.host.find(':') == std::string::npos)
      return invalid("only IPv6 addresses stand in brackets");
    port = authority.substr(close + 1);
    if (!port.empty() && port.front() != ':') return invalid("after \"]\" only a port may follow");
  } else {
    const size_t colon = authority.find(':');
    origin.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon);
    const bool name = std::ranges::all_of(origin.host, [](char c) {
      return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
             c == '.' || c == '_';
    });
    if (!name) return invalid("the host has a character that no host has");
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
  const bool v6 = origin.host.find(':') != std::string::npos;
  origin.authority = v6 ? "[" + origin.host + "]" : origin.host;
  if (origin.port != usual) origin.authority += ":" + std::to_string(origin.port);
  return origin;
}

}  // namespace sluice
