// SPDX-License-Identifier: Apache-2.0
#pragma once
// Breaker: keeps calls away from an origin that fails one call after the other, and finds out with
// one call at a time when it is back. It has no timer: a probe is due from some instant on, and the
// next call that comes then is the probe, so it can neither lock up nor stay open unasked.

#include <algorithm>
#include <cstdint>

#include "base/assert.h"
#include "base/time.h"
#include "batcher/row.h"

namespace sluice {

// Also the value of the metric.
enum class BreakerState : uint8_t {
  kClosed,   // calls go
  kOpen,     // nothing goes before probe_at()
  kProbing,  // one call has gone; the others wait for what becomes of it
};

class Breaker {
 public:
  static constexpr Duration kStep = seconds(1);       // to the first probe, and more each time
  static constexpr Duration kPauseMax = seconds(10);  // the longest time to the next probe

  // Opens after `failures_max` failures in a row; zero: never.
  explicit Breaker(uint32_t failures_max) : failures_max_(failures_max) {}

  // Whether a call may go now.
  bool lets(Instant now) const {
    return state_ == BreakerState::kClosed || (state_ == BreakerState::kOpen && now >= probe_at_);
  }
  // `call` goes; while open it is the probe. REQUIRES: lets(now)
  void begin(CallId call, Instant now) {
    ASSERT(lets(now));
    if (state_ == BreakerState::kClosed) return;
    state_ = BreakerState::kProbing;
    probe_ = call;
  }
  // A call showed that the origin is alive.
  void good() {
    state_ = BreakerState::kClosed;
    failures_ = 0;
    pause_ = {};
  }
  // `call` failed in a way that counts. True if it was the probe. While open, calls that began
  // before say nothing new.
  bool bad(CallId call, Instant now) {
    const bool was_probe = state_ == BreakerState::kProbing && probe_ == call;
    if (state_ == BreakerState::kClosed) ++failures_;
    const bool opens =
        state_ == BreakerState::kClosed && failures_max_ > 0 && failures_ >= failures_max_;
    if (!opens && !was_probe) return false;
    if (opens) ++opens_;
    state_ = BreakerState::kOpen;
    pause_ = std::min(pause_ + kStep, kPauseMax);
    probe_at_ = now + pause_;
    return was_probe;
  }
  // `call` ended without telling anything; if it was the probe, another one is due.
  void silent(CallId call, Instant now) {
    if (state_ != BreakerState::kProbing || probe_ != call) return;
    state_ = BreakerState::kOpen;
    probe_at_ = now;
  }

  BreakerState state() const { return state_; }
  // From when on a call may go as the probe. REQUIRES: state() is kOpen
  Instant probe_at() const { return probe_at_; }
  // How often it opened, failed probes not counted.
  uint64_t opens() const { return opens_; }

 private:
  uint32_t failures_max_;
  uint32_t failures_ = 0;  // in a row
  BreakerState state_ = BreakerState::kClosed;
  Duration pause_;
  Instant probe_at_;
  CallId probe_ = 0;
  uint64_t opens_ = 0;
};

}  // namespace sluice
