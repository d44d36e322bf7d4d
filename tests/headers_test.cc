// SPDX-License-Identifier: Apache-2.0
#include "gateway/headers.h"

#include <doctest/doctest.h>

#include "base/http1_head.h"

namespace sluice {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST_CASE("a name is the same in any case") {
  CHECK(http1::equal_any_case("Content-TYPE", "content-type"));
  CHECK(!http1::equal_any_case("content-typ", "content-type"));
  CHECK(!http1::equal_any_case("", "a"));
}

TEST_CASE("what a Connection header lists ends at this hop") {
  const std::vector<Header> headers = {{"Connection", "keep-alive ,\tX-One,,"},
                                       {"connection", "x-two"}};
  CHECK(is_listed_in_connection(headers, "x-one"));
  CHECK(is_listed_in_connection(headers, "X-Two"));
  CHECK(!is_listed_in_connection(headers, "x-three"));
  CHECK(!is_listed_in_connection(headers, ""));
}

TEST_CASE("a merged call gets unknown headers and credentials, and nothing of the connection's") {
  const std::vector<Header> headers = {{"Host", "a"},
                                       {"User-Agent", "x"},
                                       {"X-Odd", "1"},
                                       {"Authorization", "k"},
                                       {"Connection", "X-Gone"},
                                       {"X-Gone", "1"},
                                       {"X-Odd", "2"},
                                       {"Content-Length", "3"},
                                       {"Content-Type", "t"},
                                       {"X-Stainless-A", "1"},
                                       {"X-Fern-B", "1"},
                                       {"x-sluice-c", "1"},
                                       {"X-Forwarded-For", "1"},
                                       {"Forwarded", "for=1"},
                                       {"Expect", "100-continue"}};
  CHECK(merge_headers(headers, false) ==
        Pairs{{"x-odd", "1"}, {"authorization", "k"}, {"x-odd", "2"}});
  CHECK(merge_headers(headers, true) == Pairs{{"x-odd", "1"}, {"x-odd", "2"}});
}

TEST_CASE("a tenant is its credentials, whatever their header; without any it is nobody") {
  const std::vector<Header> none = {{"User-Agent", "x"}};
  const std::vector<Header> one = {{"authorization", "k"}, {"User-Agent", "y"}};
  const std::vector<Header> other = {{"Authorization", "l"}};
  CHECK(tenant_of(none) == 0);
  CHECK(tenant_of(one) != 0);
  CHECK(tenant_of(one) != tenant_of(other));
}

}  // namespace
}  // namespace sluice
