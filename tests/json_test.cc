// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <doctest/doctest.h>

#include "tests/json_reference.h"

namespace sluice {
namespace {

using namespace std::literals;

// What parse_json() says of `text`: "ok", or its message.
std::string verdict(std::string_view text) {
  const Slice slice = Slice::copy_of(text);
  const auto parsed = parse_json(slice);
  if (parsed.ok()) return "ok";
  CHECK(parsed.error().code == Code::kInvalid);
  return parsed.error().message;
}

void check_refused(std::string_view text) {
  CAPTURE(text);
  CHECK(verdict(text) != "ok");
  CHECK_FALSE(accepts_json(text));
}

void check_accepted(std::string_view text) {
  CAPTURE(text);
  CHECK(verdict(text) == "ok");
  CHECK(accepts_json(text));
}

std::string repeated(std::string_view part, size_t times) {
  std::string text;
  for (size_t i = 0; i < times; ++i) text += part;
  return text;
}

}  // namespace

TEST_CASE("every kind of value is accepted, with any blanks around it") {
  for (const auto text : {"null"sv,
                          "true"sv,
                          "false"sv,
                          "0"sv,
                          "-0"sv,
                          "-0.0"sv,
                          "1"sv,
                          "10"sv,
                          "1.5"sv,
                          "1e5"sv,
                          "1E+5"sv,
                          "1e-5"sv,
                          "0e0"sv,
                          "-12.50e+07"sv,
                          "\"\""sv,
                          "\"a\""sv,
                          "[]"sv,
                          "{}"sv,
                          "[[]]"sv,
                          "[{}]"sv,
                          "[1,2]"sv,
                          "[1 , \"a\" ,null]"sv,
                          "{\"a\":1}"sv,
                          "{\"a\":{\"a\":{}}}"sv,
                          "{ \"a\" : [ ] , \"b\" : { } }"sv,
                          " \t\r\n[1]\n"sv,
                          "  7  "sv,
                          " \"a\" "sv,
                          "{\"\":0}"sv,
                          "{\"a\":1,\"A\":2}"sv,
                          "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]"sv,
                          "\"\\u0000\""sv,
                          "\"\\uD83D\\uDE00\""sv,
                          "\"\\ud800\\udc00\""sv,
                          "\"\\udbff\\udfff\""sv,
                          "\"\\uFFFF\""sv,
                          "\"\x7f\""sv,
                          "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""sv,
                          "\"\xf4\x8f\xbf\xbf\""sv,
                          "[\"a:b\",\"{\",\"]\"]"sv,
                          "{\"a\\\"b\":1}"sv}) {
    check_accepted(text);
  }
}

TEST_CASE("what simdjson's On-Demand hands out as good is refused") {
  for (const auto text :
       {"\"a\\x\""sv, "[1,2}"sv, "01.2"sv, "[01.2]"sv, "\"\\ud800\""sv, "[\"\\udc00\"]"sv,
        "{\"a\":\"1\":2}"sv, "{\"a\":\"b\":\"c\",\"d\":[]}"sv, "[\"a\":1]"sv, "[\"a\":[1]]"sv,
        "{\"a\":[\"\\x\"]}"sv, "[1,2]}"sv, "[1]x"sv, "{}{}"sv, "[][]"sv}) {
    check_refused(text);
  }
}

TEST_CASE("a text that is not exactly one value is refused") {
  for (const auto text : {""sv,
                          " "sv,
                          "\n\t"sv,
                          "["sv,
                          "]"sv,
                          "{"sv,
                          "}"sv,
                          "[1"sv,
                          "[1,"sv,
                          "[1,]"sv,
                          "[,1]"sv,
                          "[,]"sv,
                          "[1,,2]"sv,
                          "[1 2]"sv,
                          "[[1]"sv,
                          "[1]]"sv,
                          "{\"a\"}"sv,
                          "{\"a\":}"sv,
                          "{\"a\":1,}"sv,
                          "{,}"sv,
                          "{\"a\" 1}"sv,
                          "{\"a\"::1}"sv,
                          "{\"a\":1 \"b\":2}"sv,
                          "{a:1}"sv,
                          "{1:1}"sv,
                          "{'a':1}"sv,
                          "{\"a\":1"sv,
                          "{\"a\":"sv,
                          "{\"a\""sv,
                          "{\"a"sv,
                          "{\"a\":1}}"sv,
                          "{]"sv,
                          "[}"sv,
                          "1 2"sv,
                          "1,"sv,
                          ","sv,
                          ":"sv,
                          "[1]#"sv,
                          "[1]//x"sv,
                          "/**/1"sv,
                          "[1]\0"sv,
                          "\0"sv,
                          "[\0]"sv,
                          "1\0"sv,
                          "\xef\xbb\xbf[]"sv,
                          "[\v1]"sv,
                          "[1]\f"sv,
                          "\xc2\xa0[]"sv,
                          "[[[[1]"sv,
                          "{null:1}"sv,
                          "{[]:1}"sv,
                          "[\"a\"b]"sv,
                          "[\"a\"\"b\"]"sv,
                          "\"a\"\"b\""sv,
                          "\"a\"1"sv}) {
    check_refused(text);
  }
}

TEST_CASE("numbers and literals are exactly those of the grammar") {
  for (const auto number :
       {"+1"sv,        "-"sv,         "--1"sv,   "01"sv,    "-01"sv,   "00"sv,           "1."sv,
        ".5"sv,        "-.5"sv,       "1.e5"sv,  "1e"sv,    "1e+"sv,   "1e-"sv,          "1e1.5"sv,
        "1ee5"sv,      "1.2.3"sv,     "0x10"sv,  "1_000"sv, "1a"sv,    "NaN"sv,          "nan"sv,
        "Infinity"sv,  "-Infinity"sv, "inf"sv,   "1 .5"sv,  "- 1"sv,   "True"sv,         "tru"sv,
        "truee"sv,     "nul"sv,       "nulll"sv, "fals"sv,  "true1"sv, "\xef\xbc\x91"sv, "1e5x"sv,
        "undefined"sv, "1-1"sv,       "0-"sv}) {
    check_refused(number);
    check_refused("[" + std::string(number) + "]");
    check_refused("{\"a\":" + std::string(number) + "}");
    check_refused("[" + std::string(number) + ",1]");
  }
}

TEST_CASE("numbers too large for a double are refused, integers of any length below are not") {
  check_refused("1e999");
  check_refused("[-1e309]");
  check_refused("[1" + repeated("0", 400) + "]");
  check_accepted("18446744073709551616");
  check_accepted("-9223372036854775809");
  check_accepted("[123456789012345678901234567890]");
  check_accepted("1" + repeated("0", 308));
  check_accepted("1e-999");
  check_accepted("0." + repeated("0", 1000) + "1");
  check_accepted("1.7976931348623157e308");
}

TEST_CASE("strings are exactly those of the grammar and Unicode") {
  for (const auto string : {"\""sv,
                            "\"a"sv,
                            "\"\\\""sv,
                            "\"\\"sv,
                            "'a'"sv,
                            "\"\\a\""sv,
                            "\"\\0\""sv,
                            "\"\\'\""sv,
                            "\"\\u\""sv,
                            "\"\\u12\""sv,
                            "\"\\u123\""sv,
                            "\"\\u12g4\""sv,
                            "\"\\U0041\""sv,
                            "\"\\u+123\""sv,
                            "\"\\u 123\""sv,
                            "\"\\x41\""sv,
                            "\"a\nb\""sv,
                            "\"a\tb\""sv,
                            "\"\x01\""sv,
                            "\"\x1f\""sv,
                            "\"a\0b\""sv,
                            "\"\\ud800\""sv,
                            "\"\\udbff\""sv,
                            "\"\\udc00\""sv,
                            "\"\\udfff\""sv,
                            "\"\\ud800x\""sv,
                            "\"\\ud800\\n\""sv,
                            "\"\\ud800\\u0041\""sv,
                            "\"\\ud800\\ud800\""sv,
                            "\"\\udc00\\ud800\""sv,
                            "\"\\ud800\\udc0\""sv,
                            "\"\xff\""sv,
                            "\"\x80\""sv,
                            "\"\xc0\xaf\""sv,
                            "\"\xc3\""sv,
                            "\"\xe2\x82\""sv,
                            "\"\xed\xa0\x80\""sv,
                            "\"\xf4\x90\x80\x80\""sv,
                            "\"\xf0\x80\x80\x80\""sv,
                            "\"\xf8\x88\x80\x80\x80\""sv}) {
    check_refused(string);
    check_refused("[" + std::string(string) + "]");
    check_refused("{" + std::string(string) + ":1}");
    check_refused("{\"a\":[1," + std::string(string) + "]}");
  }
}

TEST_CASE("a character outside of strings that is not JSON is refused wherever it stands") {
  const std::string text = "{\"a\":[1,true,\"x\"],\"b\":{}}";
  for (size_t at = 0; at <= text.size(); ++at) {
    for (const char c : {'\0', '#', 'x', '\x7f', '\\', ':', ',', '"', ']', '}', '1', '\xc3'}) {
      const std::string changed = text.substr(0, at) + c + text.substr(at);
      CAPTURE(changed);
      CHECK((verdict(changed) == "ok") == accepts_json(changed));
    }
  }
}

TEST_CASE("every proper prefix of an object is refused, whatever bytes follow it in the block") {
  const std::string text = "{\"a\":[1,[2,{\"b\":null}]],\"c\":\"\\u00e9\"}";
  for (const std::string_view after :
       {"]]]]]]}}}}}", "\"\"\"\"\"\"", ",,,,,,", ":1}]:1}]", "0000"}) {
    const Slice block = Slice::copy_of(text + std::string(after));
    CHECK(parse_json(block.part(0, text.size())).ok());
    for (size_t size = 0; size < text.size(); ++size) {
      CHECK_FALSE(parse_json(block.part(0, size)).ok());
    }
  }
  const Slice block = Slice::copy_of("[[1]]]");
  CHECK_FALSE(parse_json(block.part(0, 4)).ok());
  CHECK(parse_json(block.part(1, 3)).ok());
}

TEST_CASE("duplicate keys are refused at any depth and however they are written") {
  check_refused("{\"a\":1,\"a\":1}");
  check_refused("{\"a\":1,\"\\u0061\":1}");
  check_refused("{\"\\u00e9\":1,\"\xc3\xa9\":1}");
  check_refused("{\"/\":1,\"\\/\":1}");
  check_refused("[[{\"x\":{\"b\":1,\"c\":2,\"b\":3}}]]");
  check_refused("{\"a\":{\"c\":1},\"b\":{\"a\":1},\"a\":2}");
  check_accepted("{\"a\":{\"a\":{\"a\":1}},\"b\":[{\"a\":1},{\"a\":2}]}");
  CHECK(verdict("{\"a\":1,\"a\":2}").find("duplicate key \"a\"") != std::string::npos);

  std::string many = "{";
  for (int i = 0; i < 100'000; ++i) many += "\"key" + std::to_string(i) + "\":0,";
  CHECK(verdict(many + "\"key\":0}") == "ok");
  CHECK(verdict(many + "\"key512\":0}") != "ok");
}

TEST_CASE("nesting is refused beyond its limit, without using the stack") {
  const auto arrays = [](size_t depth) { return repeated("[", depth) + repeated("]", depth); };
  CHECK(verdict(arrays(kJsonDepthMax)) == "ok");
  CHECK(verdict(arrays(kJsonDepthMax + 1)).find("nested deeper") != std::string::npos);
  CHECK(verdict(repeated("{\"a\":", kJsonDepthMax) + "1" + repeated("}", kJsonDepthMax)) == "ok");
  CHECK(verdict(repeated("{\"a\":", kJsonDepthMax + 1) + "1" + repeated("}", kJsonDepthMax + 1)) !=
        "ok");
  CHECK(verdict(arrays(100'000)).find("nested deeper") != std::string::npos);
  CHECK(verdict(repeated("[", 100'000)) != "ok");
  CHECK(verdict(repeated("{\"a\":", 100'000)) != "ok");
  CHECK(verdict(repeated("[{\"a\":", 100'000) + "1") != "ok");
}

TEST_CASE("the message names the byte that is wrong") {
  CHECK(verdict("[1,\"\\ud800\"]") == "invalid JSON at byte 4: lone surrogate");
  CHECK(verdict("{\"a\": 01}") == "invalid JSON at byte 7: something follows the value");
  CHECK(verdict("{\"a\":1} {}") == "invalid JSON at byte 8: something follows the value");
  CHECK(verdict("[1") ==
        "invalid JSON at byte 2: the text does not end with the array or object it began with");
  CHECK(verdict("") == "invalid JSON: the text is empty");
}

TEST_CASE("a large text is accepted after a small one, and a small one after a large one") {
  std::string large = "[\"" + repeated("x", 3'000'000) + "\"";
  for (int i = 0; i < 100'000; ++i) large += ",1";
  for (int round = 0; round < 3; ++round) {
    check_accepted("[1]");
    CHECK(verdict(large + "]") == "ok");
    CHECK(verdict(large) != "ok");
  }
}

}  // namespace sluice
