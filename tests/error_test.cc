// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <doctest/doctest.h>

#include <string>

#include "base/result.h"

namespace sluice {

TEST_CASE("every code has an error status of its own and every status a reason") {
  std::string seen;
  for (int i = 0; i <= static_cast<int>(Code::kHttpVersion); ++i) {
    const int status = http_status(static_cast<Code>(i));
    CHECK(status >= 400);
    CHECK(status <= 599);
    CHECK(http_reason(status) != "Unknown");
    CHECK(seen.find(std::to_string(status)) == std::string::npos);
    seen += std::to_string(status) + " ";
  }
}

TEST_CASE("codes mean what HTTP says") {
  CHECK(http_status(Code::kInvalid) == 400);
  CHECK(http_status(Code::kTooLarge) == 413);
  CHECK(http_status(Code::kUriTooLong) == 414);
  CHECK(http_status(Code::kOverloaded) == 429);
  CHECK(http_status(Code::kHeadersTooLarge) == 431);
  CHECK(http_status(Code::kTimeout) == 504);
  CHECK(http_reason(429) == "Too Many Requests");
  CHECK(http_reason(200) == "OK");
  CHECK(http_reason(299) == "Unknown");
}

TEST_CASE("a result is a value or an error, and gives the value away") {
  const Result<int> good = 5;
  CHECK(good.ok());
  CHECK(good.value() == 5);
  const Result<int> bad = Error{Code::kNotFound, "no such thing", "model"};
  CHECK_FALSE(bad.ok());
  CHECK(bad.error().code == Code::kNotFound);
  CHECK(bad.error().param == "model");
  Result<std::string> text = std::string(100, 'x');
  CHECK(std::move(text).value().size() == 100);
}

}  // namespace sluice
