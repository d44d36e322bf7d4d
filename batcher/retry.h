// SPDX-License-Identifier: Apache-2.0
#pragma once
// How often and how soon failed calls are made again: a budget, so that retries never multiply the
// load on a backend that cannot take it, and a growing pause between them.

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace sluice {

// A tenth of a retry for every call, saved up to kBurst retries, which is also what it starts with.
class RetryBudget {
 public:
  static constexpr uint32_t kBurst = 3;

  // A call was made.
  void earn() { tenths_ = std::min(tenths_ + 1, kBurst * 10); }
  // Whether there is enough for one more retry; takes it if so.
  bool spend() {
    if (tenths_ < 10) return false;
    tenths_ -= 10;
    return true;
  }

 private:
  uint32_t tenths_ = kBurst * 10;
};

// The longest pause after the `attempts`th call of a row has failed: `base`, doubled with each, up
// to `max`. REQUIRES: attempts >= 1
inline Duration backoff(Duration base, Duration max, uint32_t attempts) {
  const uint32_t doublings = std::min<uint32_t>(attempts - 1, 30);
  return std::min(base * (int64_t{1} << doublings), max);
}

// What `pause` becomes by chance: from half of it to all of it. `unit` is in [0, 1).
inline Duration jittered(Duration pause, double unit) {
  return from_seconds(pause.seconds() * (0.5 + 0.5 * unit));
}

}  // namespace sluice
