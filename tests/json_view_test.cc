// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "base/json.h"

namespace sluice {
namespace {

using namespace std::literals;

// A valid text with its root, for walking.
struct Parsed {
  explicit Parsed(std::string_view text) : slice(Slice::copy_of(text)), root(parse()) {}
  JsonView parse() const {
    const auto parsed = parse_json(slice);
    REQUIRE(parsed.ok());
    return parsed.value();
  }
  Slice slice;
  JsonView root;
};

}  // namespace

TEST_CASE("walking gives every part as it stands in the text") {
  const Parsed json(" { \"a\" : [ 1 , \"x\\\"]\" , { } , [ [ ] ] , null ] ,\"\\u0062\":true} ");
  CHECK(json.root.raw().front() == '{');
  CHECK(json.root.raw().back() == '}');
  CHECK(json.root.count() == 2);
  std::string keys;
  json.root.for_each_member([&](std::string_view key, JsonView) {
    keys.append(key).append(";");
    return true;
  });
  CHECK(keys == "a;b;");
  std::string items;
  const JsonView a = json.root.member("a").value();
  CHECK(a.count() == 5);
  a.for_each_item([&](JsonView item) {
    items.append(item.raw()).append("|");
    return !item.is(JsonType::kArray);
  });
  CHECK(items == "1|\"x\\\"]\"|{ }|[ [ ] ]|");
  CHECK(json.root.member("b")->boolean());
  CHECK_FALSE(json.root.member("c").has_value());
  CHECK(Parsed("[]").root.count() == 0);
  CHECK(Parsed("{ }").root.count() == 0);
}

TEST_CASE("types are told apart") {
  CHECK(Parsed("null").root.is(JsonType::kNull));
  CHECK(Parsed("false").root.is(JsonType::kBool));
  CHECK(Parsed("-1").root.is(JsonType::kNumber));
  CHECK(Parsed("\"\"").root.is(JsonType::kString));
  CHECK(Parsed("[]").root.is(JsonType::kArray));
  CHECK(Parsed("{}").root.is(JsonType::kObject));
}

TEST_CASE("strings lose their escapes") {
  CHECK(Parsed("\"\"").root.text().empty());
  CHECK(Parsed("\"a\\n\\\"\\\\\\/\\b\\f\\r\\tz\"").root.text() == "a\n\"\\/\b\f\r\tz");
  CHECK(Parsed("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"").root.text() ==
        "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  CHECK(Parsed("\"\\u0000x\"").root.text() == "\0x"sv);
}

TEST_CASE("numbers are read to the nearest double, integers only if written as such") {
  CHECK(Parsed("1.5e3").root.number() == 1500.0);
  CHECK(Parsed("-0").root.number() == 0.0);
  CHECK(std::signbit(Parsed("-0").root.number()));
  CHECK(Parsed("0.1").root.number() == 0.1);
  CHECK(Parsed("1e-999").root.number() == 0.0);
  CHECK(Parsed("5e-324").root.number() == std::numeric_limits<double>::denorm_min());
  CHECK(Parsed("18446744073709551616").root.number() == 0x1p64);
  CHECK(Parsed("42").root.integer() == 42);
  CHECK(Parsed("-9223372036854775808").root.integer() == INT64_MIN);
  CHECK_FALSE(Parsed("9223372036854775808").root.integer().has_value());
  CHECK_FALSE(Parsed("1.0").root.integer().has_value());
  CHECK_FALSE(Parsed("1e2").root.integer().has_value());
  CHECK_FALSE(Parsed("\"1\"").root.integer().has_value());
}

TEST_CASE("a string written is the string read, and invalid UTF-8 is replaced") {
  std::string all;
  for (int c = 0; c < 0x80; ++c) all.push_back(static_cast<char>(c));
  all += "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
  std::string written;
  append_json_string(written, all);
  CHECK(Parsed(written).root.text() == all);

  const auto write = [](std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
  };
  CHECK(write("") == "\"\"");
  CHECK(write("\x01\n\"\\/") == "\"\\u0001\\n\\\"\\\\/\"");
  CHECK(write("a\xff"
              "b") ==
        "\"a\xef\xbf\xbd"
        "b\"");
  CHECK(write("\xed\xa0\x80") == "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(write("\xe2\x82") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(write("\xf4\x90\x80\x80").find("\xf4") == std::string::npos);
}

TEST_CASE("a float written is the float read, and no float breaks the text") {
  for (const float value : {0.0f, -0.0f, 1.0f, 0.1f, -1e-30f, 3.4028235e38f, 1e-45f, 123456.79f}) {
    std::string out;
    append_json_number(out, value);
    CHECK(static_cast<float>(Parsed(out).root.number()) == value);
  }
  std::string out;
  append_json_number(out, std::numeric_limits<float>::infinity());
  append_json_number(out, std::numeric_limits<float>::quiet_NaN());
  append_json_number(out, int64_t{INT64_MIN});
  CHECK(out == "nullnull-9223372036854775808");
}

}  // namespace sluice
