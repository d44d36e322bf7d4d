// SPDX-License-Identifier: Apache-2.0
#pragma once
// A generator of our own and ranges over it: the distributions of the standard library differ
// between its versions, and a seed must replay on all of them.

#include <cstdint>

#include "base/assert.h"

namespace sluice {

// SplitMix64 (Steele, Lea, Flood 2014). Not for secrets.
class Prng {
 public:
  explicit Prng(uint64_t seed) : state_(seed) {}

  // The next number, any of the 2^64.
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  // A number in [low, high], both included. REQUIRES: low <= high.
  int64_t between(int64_t low, int64_t high) {
    ASSERT(low <= high);
    const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
    return span == 0 ? static_cast<int64_t>(next())
                     : static_cast<int64_t>(static_cast<uint64_t>(low) + next() % span);
  }
  // A number in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  bool chance(double probability) { return unit() < probability; }

 private:
  uint64_t state_;
};

}  // namespace sluice
