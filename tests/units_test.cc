// SPDX-License-Identifier: Apache-2.0
// Values as people write them.

#include "gateway/units.h"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace sluice {
namespace {

TEST_CASE("a duration is read to the nanosecond") {
  const std::vector<std::pair<std::string, int64_t>> cases = {
      {"0", 0},
      {"0ms", 0},
      {"1ns", 1},
      {"200us", 200'000},
      {"0.1ms", 100'000},
      {"1.5s", 1'500'000'000},
      {"10s", 10'000'000'000},
      {"2m", 120'000'000'000},
      {"24h", 86'400'000'000'000},
      {"0.000000001s", 1},
  };
  for (const auto& [text, ns] : cases) {
    CAPTURE(text);
    const Result<Duration> value = parse_duration(text);
    REQUIRE(value.ok());
    CHECK(value.value().ns == ns);
  }
}

TEST_CASE("what is no duration is refused, and the message says what would be one") {
  for (const char* text :
       {"", "5", "s", "10 s", "10sec", "-1s", "+1s", "1e3s", "1.s", ".5s", "1.2.3s", "1s ", "0.5ns",
        "9999999999999999999s", "300000000h", "1,5s", "0x1s", "ms10", "NaNs"}) {
    CAPTURE(text);
    const Result<Duration> value = parse_duration(text);
    REQUIRE(!value.ok());
    CHECK(value.error().code == Code::kInvalid);
    CHECK(value.error().message == "must be a duration with its unit, such as 500ms, 10s or 2m");
  }
}

TEST_CASE("a size is read in powers of 1000 or 1024 as its unit says") {
  const std::vector<std::pair<std::string, uint64_t>> cases = {
      {"0", 0},
      {"4096", 4096},
      {"17B", 17},
      {"1kB", 1000},
      {"1KB", 1000},
      {"20MB", 20'000'000},
      {"2GB", 2'000'000'000},
      {"1TB", 1'000'000'000'000},
      {"64KiB", 65'536},
      {"4MiB", 4'194'304},
      {"1GiB", 1'073'741'824},
      {"1TiB", 1'099'511'627'776},
      {"1.5KiB", 1536},
      {"0.5TiB", 549'755'813'888},
  };
  for (const auto& [text, bytes] : cases) {
    CAPTURE(text);
    const Result<uint64_t> value = parse_bytes(text);
    REQUIRE(value.ok());
    CHECK(value.value() == bytes);
  }
}

TEST_CASE("what is no whole number of bytes is refused") {
  for (const char* text : {"", "MiB", "-1", "1 MiB", "1mib", "1Mi", "1.5B", "0.1KiB", "10s",
                           "99999999999999999999", "9000000000TiB", "1e6"}) {
    CAPTURE(text);
    const Result<uint64_t> value = parse_bytes(text);
    REQUIRE(!value.ok());
    CHECK(value.error().message == "must be a size such as 64KiB, 4MiB, 1GiB or 20MB");
  }
}

TEST_CASE("a count is digits alone") {
  CHECK(parse_count("0").value() == 0);
  CHECK(parse_count("18446744073709551615").value() == UINT64_MAX);
  for (const char* text :
       {"", "-1", "+1", " 1", "1 ", "1.0", "1k", "18446744073709551616", "0x10"}) {
    CAPTURE(text);
    CHECK(!parse_count(text).ok());
  }
}

TEST_CASE("a switch is on or off in three spellings") {
  for (const char* text : {"on", "true", "yes"}) CHECK(parse_switch(text).value());
  for (const char* text : {"off", "false", "no"}) CHECK(!parse_switch(text).value());
  for (const char* text : {"", "1", "ON", "maybe"}) CHECK(!parse_switch(text).ok());
}

TEST_CASE("an address is a literal host and a port") {
  const auto check = [](const char* text, const char* host, uint16_t port) {
    CAPTURE(text);
    const Result<Address> address = parse_address(text);
    REQUIRE(address.ok());
    CHECK(address.value().host == host);
    CHECK(address.value().port == port);
  };
  check("127.0.0.1:8080", "127.0.0.1", 8080);
  check("0.0.0.0:0", "0.0.0.0", 0);
  check("localhost:65535", "127.0.0.1", 65535);
  check("[::1]:80", "::1", 80);
  check("[2001:db8::2]:443", "2001:db8::2", 443);
  for (const char* text : {"", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                           "127.0.0.1:-1", "::1:80", "[::1]", "[]:80", "[127.0.0.1]:80", "1.2.3:80",
                           "example.com:80", "127.0.0.1 :80", "http://127.0.0.1:80"}) {
    CAPTURE(text);
    CHECK(!parse_address(text).ok());
  }
  CHECK(!parse_address(std::string_view("127.0.0.1\0x:80", 14)).ok());
}

TEST_CASE("a value that is written is read back the same") {
  for (const int64_t ns : {int64_t{0}, int64_t{1}, int64_t{1500}, int64_t{2'000'000},
                           int64_t{75'000'000'000}, int64_t{3'600'000'000'000}, INT64_MAX}) {
    CAPTURE(ns);
    CHECK(parse_duration(format_duration({ns})).ok() == (ns != INT64_MAX));
    if (ns != INT64_MAX) CHECK(parse_duration(format_duration({ns})).value().ns == ns);
  }
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, uint64_t{1024},
                               uint64_t{20} << 20, uint64_t{3} << 40, (uint64_t{1} << 40) + 1}) {
    CAPTURE(bytes);
    CHECK(parse_bytes(format_bytes(bytes)).value() == bytes);
  }
  CHECK(format_duration(seconds(600)) == "600s");
  CHECK(format_duration(microseconds(1500)) == "1500us");
  CHECK(format_duration(seconds(7200)) == "2h");
  CHECK(format_bytes(20 << 20) == "20MiB");
  CHECK(format_bytes(1000) == "1000B");
  for (const char* text : {"127.0.0.1:8080", "[::1]:0"})
    CHECK(format_address(parse_address(text).value()) == text);
}

TEST_CASE("the nearest name is the one with the fewest slips, and none if all are far") {
  constexpr std::array<std::string_view, 4> kNames = {"items_max", "bytes_max", "tokens_max",
                                                      "wait_max"};
  CHECK(nearest("item_max", kNames) == "items_max");
  CHECK(nearest("itmes_max", kNames) == "items_max");  // two letters swapped
  CHECK(nearest("tokens-max", kNames) == "tokens_max");
  CHECK(nearest("wait_max_", kNames) == "wait_max");
  CHECK(nearest("byte_mx", kNames) == "bytes_max");
  CHECK(nearest("deadline", kNames) == std::nullopt);
  CHECK(nearest("", kNames) == std::nullopt);
  CHECK(nearest(std::string(100'000, 'x'), kNames) == std::nullopt);
  CHECK(nearest("x", {}) == std::nullopt);
}

TEST_CASE("a quoted text is short and holds no control characters") {
  CHECK(quote("a b") == "\"a b\"");
  CHECK(quote("a\nb\x1b[0m") == "\"a?b?[0m\"");
  CHECK(quote(std::string(1000, 'x')).size() < 70);
}

}  // namespace
}  // namespace sluice
