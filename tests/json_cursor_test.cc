// SPDX-License-Identifier: Apache-2.0
#include "backends/json_cursor.h"

#include <doctest/doctest.h>

#include <string>

#include "base/json.h"
#include "base/prng.h"

namespace sluice {
namespace {

// Reads `text` with the cursor alone, to its leaves.
void read_all(JsonCursor& at) {
  std::string_view key;
  if (at.peek() == '{') {
    at.enter('{');
    while (at.next_member(key)) read_all(at);
  } else if (at.peek() == '[') {
    at.enter('[');
    while (at.next_item()) read_all(at);
  } else {
    at.value();
  }
}

bool accepts(std::string_view text) {
  const Slice body = Slice::copy_of(text);
  JsonCursor at(body);
  read_all(at);
  return at.finish();
}

TEST_CASE("members and items come one after another, values as they stand") {
  const Slice body = Slice::copy_of(R"( { "a\u0062" : [ 1 , "x" ] , "c" : {"d":[1, 2]} , "e":7} )");
  JsonCursor at(body);
  std::string_view key;
  REQUIRE(at.enter('{'));
  REQUIRE(at.next_member(key));
  CHECK(key == "ab");
  REQUIRE(at.enter('['));
  REQUIRE(at.next_item());
  CHECK(at.value().view() == "1");
  REQUIRE(at.next_item());
  CHECK(at.value().view() == R"("x")");
  CHECK(!at.next_item());
  REQUIRE(at.next_member(key));
  CHECK(at.value().view() == R"({"d":[1, 2]})");
  REQUIRE(at.next_member(key));
  uint64_t number = 0;
  CHECK(at.count(7, number));
  CHECK(number == 7);
  CHECK(!at.next_member(key));
  CHECK(at.finish());
}

TEST_CASE("numbers are read as a whole, or not at all") {
  for (const char* good :
       {"[0]", "[-0.5,1e5, 2E-3 ]", "[\n12345678901234567890123\t]", "[1.5e+300]"}) {
    const Slice body = Slice::copy_of(good);
    JsonCursor at(body);
    CHECK(at.numbers().view() == good);
    CHECK(at.finish());
  }
  for (const char* bad :
       {"[]", "[,1]", "[1,]", "[1 2]", "[01]", "[1.]", "[.5]", "[-]", "[+1]", "[1e]", "[1e999]",
        "[1", "[1,", "[", "[null]", "[\"1\"]", "[[1]]", "7", "[1}"}) {
    CAPTURE(bad);
    const Slice body = Slice::copy_of(bad);
    JsonCursor at(body);
    CHECK(at.numbers().empty());
    REQUIRE(at.failed());
    CHECK(at.error().code == Code::kUpstream);
  }
  const Slice part = Slice::copy_of("[1234]").part(0, 4);
  JsonCursor cut(part);
  CHECK(cut.numbers().empty());
  const std::string huge = "[" + std::string(400, '9') + "]";
  CHECK(!accepts(huge));
}

TEST_CASE("it accepts what parse_json() accepts, but for keys that come twice") {
  const std::string_view kSeeds[] = {
      R"({"data":[{"index":0,"embedding":[0.1,-2e3]}],"x":"\u00e9\ud83d\ude00","n":null})",
      "[true,false,null,[],{},[[]],\"\xc3\xa9\", 1.5e3 ]"};
  const std::string_view kBytes = "{}[],:\"\\u0123456789abdef.eE+-tn \n\x01\xc3\xa9\xff";
  Prng prng(11);
  size_t accepted = 0;
  for (int round = 0; round < 30'000; ++round) {
    std::string text(kSeeds[prng.next() % 2]);
    for (int64_t changes = prng.between(0, 3); changes > 0; --changes) {
      const size_t place = prng.next() % text.size();
      const char byte = kBytes[prng.next() % kBytes.size()];
      if (prng.chance(0.5)) {
        text[place] = byte;
      } else {
        text.insert(text.begin() + static_cast<ptrdiff_t>(place), byte);
      }
    }
    const Result<JsonView> parsed = parse_json(Slice::copy_of(text));
    if (!parsed.ok() && parsed.error().message.find("duplicate") != std::string::npos) continue;
    CAPTURE(text);
    CHECK(accepts(text) == parsed.ok());
    accepted += parsed.ok() ? 1 : 0;
  }
  CHECK(accepted > 5000);
}

TEST_CASE("containers that nobody looks into are checked all the same") {
  for (const char* bad : {R"({"a":1,"a":2})", R"([1,2}])", R"([01])", R"(["\ud800"])", R"([1)",
                          "[\"\xff\"]", R"({"a" 1})"}) {
    CAPTURE(bad);
    const Slice body = Slice::copy_of(bad);
    JsonCursor at(body);
    CHECK(at.value().empty());
    CHECK(at.failed());
  }
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  const Slice body = Slice::copy_of(deep);
  JsonCursor at(body);
  CHECK(at.value().empty());
}

}  // namespace
}  // namespace sluice
