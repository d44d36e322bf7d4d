// SPDX-License-Identifier: Apache-2.0
#pragma once
// Time, as two types that cannot be mixed up. Nothing here reads a clock: code that needs to know
// the time is told it, which is what lets a test or a simulation decide what time it is.

#include <compare>
#include <cstdint>

namespace sluice {

// A span of time, in nanoseconds; may be negative.
struct Duration {
  int64_t ns = 0;
  friend constexpr auto operator<=>(Duration, Duration) = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {a.ns + b.ns}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {a.ns - b.ns}; }
  friend constexpr Duration operator*(Duration a, int64_t n) { return {a.ns * n}; }
  constexpr double seconds() const { return static_cast<double>(ns) * 1e-9; }
};
constexpr Duration nanoseconds(int64_t n) { return {n}; }
constexpr Duration microseconds(int64_t n) { return {n * 1'000}; }
constexpr Duration milliseconds(int64_t n) { return {n * 1'000'000}; }
constexpr Duration seconds(int64_t n) { return {n * 1'000'000'000}; }
// Rounds towards zero; REQUIRES that the result fits (292 years).
constexpr Duration from_seconds(double s) { return {static_cast<int64_t>(s * 1e9)}; }

// A point on a monotonic clock whose origin means nothing.
struct Instant {
  int64_t ns = 0;
  friend constexpr auto operator<=>(Instant, Instant) = default;
  friend constexpr Instant operator+(Instant t, Duration d) { return {t.ns + d.ns}; }
  friend constexpr Instant operator-(Instant t, Duration d) { return {t.ns - d.ns}; }
  friend constexpr Duration operator-(Instant a, Instant b) { return {a.ns - b.ns}; }
};
inline constexpr Instant kNever{INT64_MAX};

}  // namespace sluice
