// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <doctest/doctest.h>

#include <type_traits>

namespace sluice {
namespace {

template <typename A, typename B>
concept Addable = requires(A a, B b) { a + b; };

}  // namespace

TEST_CASE("units agree with one another") {
  CHECK(seconds(2) == milliseconds(2000));
  CHECK(milliseconds(3) == microseconds(3000));
  CHECK(microseconds(4) == nanoseconds(4000));
  CHECK(from_seconds(0.25) == milliseconds(250));
  CHECK(milliseconds(1500).seconds() == doctest::Approx(1.5));
}

TEST_CASE("points and spans are added as they may be, and only so") {
  const Instant start{1000};
  CHECK(start + nanoseconds(5) - start == nanoseconds(5));
  CHECK(start - nanoseconds(5) < start);
  CHECK(start < kNever);
  CHECK(nanoseconds(3) * 4 == nanoseconds(12));
  CHECK(milliseconds(1) - milliseconds(2) < Duration{});
  static_assert(!Addable<Instant, Instant>);
  static_assert(!std::is_convertible_v<int64_t, Instant>);
}

}  // namespace sluice
