// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "backends/dial.h"

namespace sluice {
namespace {

// "tls host port prefix authority", or the reason.
std::string read(std::string_view url) {
  const Result<Origin> made = parse_origin(url);
  if (!made.ok()) {
    CHECK(made.error().code == Code::kInvalid);
    return made.error().message;
  }
  const Origin& origin = made.value();
  return std::string(origin.tls ? "tls " : "") + origin.host + " " + std::to_string(origin.port) +
         " " + origin.prefix + " " + origin.authority;
}

TEST_CASE("a base URL is taken apart, with default ports and without a slash at its end") {
  CHECK(read("http://model") == "model 80  model");
  CHECK(read("https://api.example.com/") == "tls api.example.com 443  api.example.com");
  CHECK(read("HTTP://127.0.0.1:8000/v1//") == "127.0.0.1 8000 /v1 127.0.0.1:8000");
  CHECK(read("https://h:443/a/b%20c") == "tls h 443 /a/b%20c h");
  CHECK(read("https://h:80") == "tls h 80  h:80");
  CHECK(read("http://[::1]:9/p") == "::1 9 /p [::1]:9");
  CHECK(read("https://[fe80::1]") == "tls fe80::1 443  [fe80::1]");
  CHECK(read("http://svc.cluster.local./x") == "svc.cluster.local. 80 /x svc.cluster.local.");
  CHECK(read("http://my_model-2:65535") == "my_model-2 65535  my_model-2:65535");
}

TEST_CASE("what could be read in two ways is refused, with the reason") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "begin with http"},
      {"model:8000", "begin with http"},
      {"ftp://h", "begin with http"},
      {"http:/h", "begin with http"},
      {"http://", "label"},
      {"http:///p", "label"},
      {"http://.", "label"},
      {"http://a..b", "label"},
      {"http://" + std::string(64, 'a'), "label"},
      {"http://h h", "blanks"},
      {"http://h\n", "blanks"},
      {std::string("http://h\0x", 10), "blanks"},
      {"http://h\xC3\xBC", "blanks"},
      {"http://h\\p", "character"},
      {"http://user@h", "user"},
      {"http://u:p@h", "user"},
      {"http://h?q", "query"},
      {"http://h/#f", "fragment"},
      {"http://h:", "port"},
      {"http://h:0", "port"},
      {"http://h:65536", "port"},
      {"http://h:+1", "port"},
      {"http://h:8x", "port"},
      {"http://1.2.3", "IPv4"},
      {"http://256.1.1.1", "IPv4"},
      {"http://0x7f.1", "IPv4"},
      {"http://2130706433", "IPv4"},
      {"http://[::1", "not closed"},
      {"http://[::1]8", "only a port"},
      {"http://[model]", "IPv6"},
      {"http://[1::2::3]", "IPv6"},
      {"http://[fe80::1%25eth0]", "IPv6"},
      {"http://h/a//b", "empty segment"},
      {"http://h/a/../b", "dots"},
      {"http://h/%2E%2e/b", "dots"},
      {"http://h/.", "dots"},
      {"http://h/%zz", "hexadecimal"},
      {"http://h/%2", "hexadecimal"},
      {"http://h/a<b", "%XX"},
      {"http://h/" + std::string(2000, 'a'), "too long"}};
  for (const auto& [url, reason] : cases) {
    CAPTURE(url);
    const std::string answer = read(url);
    CAPTURE(answer);
    CHECK(answer.starts_with("must be a URL such as http://host:8000; "));
    CHECK(answer.find(reason) != std::string::npos);
  }
}

}  // namespace
}  // namespace sluice
