// SPDX-License-Identifier: Apache-2.0
#include "backends/operation.h"

#include <doctest/doctest.h>

#include "base/prng.h"

namespace sluice {
namespace {

CallKey sample() {
  CallKey key;
  key.operation = Operation::kRerank;
  key.codec = "cohere.rerank";
  key.target = "/v1/rerank?x=1";
  key.model = "m";
  key.params = {{"query", R"("a")"}, {"raw_scores", "true"}};
  key.headers = {{"authorization", "Bearer a"}, {"x", std::string("\0\xff", 2)}};
  return key;
}

void check_equal(const CallKey& a, const CallKey& b) {
  CHECK(a.operation == b.operation);
  CHECK(a.codec == b.codec);
  CHECK(a.target == b.target);
  CHECK(a.model == b.model);
  CHECK(a.params == b.params);
  CHECK(a.headers == b.headers);
}

TEST_CASE("a key is what its text says") {
  const Result<CallKey> full = CallKey::decode(sample().encode());
  REQUIRE(full.ok());
  check_equal(full.value(), sample());
  const Result<CallKey> bare = CallKey::decode(CallKey{}.encode());
  REQUIRE(bare.ok());
  check_equal(bare.value(), CallKey{});
}

TEST_CASE("keys that differ anywhere have different texts") {
  std::vector<CallKey> keys(10, sample());
  keys[1].operation = Operation::kEmbed;
  keys[2].codec += "x";
  keys[3].target += "x";
  keys[4].model = "";
  keys[5].params[0].second += " ";
  keys[6].params.pop_back();
  keys[7].headers[0].first += "x";
  keys[8].headers.clear();
  // The same bytes, divided in another way.
  keys[9].codec = "cohere.rerank/";
  keys[9].target = "v1/rerank?x=1";
  for (size_t i = 0; i < keys.size(); ++i) {
    for (size_t j = 0; j < i; ++j) CHECK(keys[i].encode() != keys[j].encode());
  }
}

TEST_CASE("a text that is cut, longer or changed is no key, or another one") {
  const std::string text = sample().encode();
  for (size_t size = 0; size < text.size(); ++size)
    CHECK(!CallKey::decode(text.substr(0, size)).ok());
  CHECK(!CallKey::decode(text + '\0').ok());
  CHECK(!CallKey::decode("\x06" + text.substr(1)).ok());
  Prng prng(7);
  for (int round = 0; round < 2000; ++round) {
    std::string changed = text;
    changed[prng.next() % changed.size()] = static_cast<char>(prng.next());
    const Result<CallKey> key = CallKey::decode(changed);
    if (key.ok()) CHECK(key.value().encode() == changed);
  }
}

TEST_CASE("a parameter is found by its name") {
  CHECK(sample().param("query") == R"("a")");
  CHECK(!sample().param("quer"));
}

TEST_CASE("operations have names") {
  CHECK(to_text(Operation::kEmbed) == "embed");
  CHECK(to_text(Operation::kInfer) == "infer");
}

}  // namespace
}  // namespace sluice
