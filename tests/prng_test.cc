// SPDX-License-Identifier: Apache-2.0
#include "base/prng.h"

#include <doctest/doctest.h>

namespace sluice {

TEST_CASE("a seed replays everywhere: the numbers are those of SplitMix64") {
  Prng prng(1234567);
  CHECK(prng.next() == 6457827717110365317ull);
  CHECK(prng.next() == 3203168211198807973ull);
  CHECK(prng.next() == 9817491932198370423ull);
}

TEST_CASE("between() gives every number of its range and no other") {
  Prng prng(1);
  int seen[5] = {};
  for (int i = 0; i < 1000; ++i) {
    const int64_t value = prng.between(-2, 2);
    REQUIRE(value >= -2);
    REQUIRE(value <= 2);
    ++seen[value + 2];
  }
  for (const int count : seen) CHECK(count > 100);
  CHECK(prng.between(7, 7) == 7);
  int negative = 0;
  for (int i = 0; i < 100; ++i) negative += prng.between(INT64_MIN, INT64_MAX) < 0 ? 1 : 0;
  CHECK(negative > 20);
  CHECK(negative < 80);
}

TEST_CASE("unit() lies in [0, 1) and chance() keeps its probability") {
  Prng prng(2);
  double sum = 0;
  int hits = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double value = prng.unit();
    REQUIRE(value >= 0.0);
    REQUIRE(value < 1.0);
    sum += value;
    hits += prng.chance(0.25) ? 1 : 0;
    REQUIRE_FALSE(prng.chance(0.0));
    REQUIRE(prng.chance(1.0));
  }
  CHECK(sum / 10'000 == doctest::Approx(0.5).epsilon(0.05));
  CHECK(hits / 10'000.0 == doctest::Approx(0.25).epsilon(0.1));
}

}  // namespace sluice
