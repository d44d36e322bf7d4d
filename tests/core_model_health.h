// SPDX-License-Identifier: Apache-2.0
#pragma once
// CoreHealthModel: a plain second opinion on how much each backend may be asked: its slots, its
// breaker, its budget of retries, and which tenants travel alone.

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "batcher/core.h"

namespace sluice {

class CoreHealthModel {
 public:
  explicit CoreHealthModel(const CoreOptions& options) {
    std::map<uint32_t, size_t> shared;
    for (const BackendOptions& backend : options.backends) {
      size_t breaker = breakers_.size();
      if (backend.breaker && shared.contains(*backend.breaker)) {
        breaker = shared[*backend.breaker];
      } else {
        breakers_.push_back({.failures_max = backend.breaker_failures});
        if (backend.breaker) shared[*backend.breaker] = breaker;
      }
      backends_.push_back({.slots_max = backend.slots, .slots = backend.slots, .breaker = breaker});
    }
  }

  // Whether the breaker of `backend` lets a call go.
  bool lets(BackendIndex backend, Instant now) const {
    const PlainBreaker& breaker = of(backend);
    if (!breaker.open) return true;
    return !breaker.probe && now >= breaker.probe_at;
  }
  // A call starts.
  void begin(BackendIndex backend, CallId call) {
    PlainBreaker& breaker = of(backend);
    if (breaker.open) breaker.probe = call;
    backends_[backend].saved = std::min(backends_[backend].saved + 0.1, 3.0);
    last_call_ = call;
  }
  void good(BackendIndex backend) {
    alive(backend);
    PlainBackend& state = backends_[backend];
    if (state.slots == state.slots_max) return;
    if (++state.good == state.slots) {
      ++state.slots;
      state.good = 0;
    }
  }
  // The origin has answered something.
  void alive(BackendIndex backend) {
    const uint32_t failures_max = of(backend).failures_max;
    of(backend) = {.failures_max = failures_max};
  }
  // True if `call` was a probe.
  bool bad(BackendIndex backend, CallId call, Instant now) {
    PlainBreaker& breaker = of(backend);
    const bool probe = breaker.open && breaker.probe == call;
    if (!breaker.open) {
      ++breaker.failures;
      if (breaker.failures_max == 0 || breaker.failures < breaker.failures_max) return false;
      breaker.open = true;
    } else if (!probe) {
      return false;
    }
    breaker.probe.reset();
    ++breaker.pauses;
    breaker.probe_at = now + seconds(std::min(breaker.pauses, 10));
    return probe;
  }
  void silent(BackendIndex backend, CallId call, Instant now) {
    PlainBreaker& breaker = of(backend);
    if (!breaker.open || breaker.probe != call) return;
    breaker.probe.reset();
    breaker.probe_at = now;
  }
  void throttled(BackendIndex backend, CallId call) {
    PlainBackend& state = backends_[backend];
    state.good = 0;
    if (state.shrunk_at && call <= *state.shrunk_at) return;
    state.slots = std::max(1u, state.slots / 2);
    state.shrunk_at = last_call_;
  }
  bool spend(BackendIndex backend) {
    if (backends_[backend].saved < 1 - 1e-9) return false;
    backends_[backend].saved -= 1;
    return true;
  }

  uint32_t slots(BackendIndex backend) const { return backends_[backend].slots; }
  BreakerState state(BackendIndex backend) const {
    const PlainBreaker& breaker = of(backend);
    if (!breaker.open) return BreakerState::kClosed;
    return breaker.probe ? BreakerState::kProbing : BreakerState::kOpen;
  }
  bool share_breaker(BackendIndex a, BackendIndex b) const {
    return backends_[a].breaker == backends_[b].breaker;
  }
  bool all_open(const std::vector<BackendIndex>& all) const {
    return std::all_of(all.begin(), all.end(), [this](BackendIndex i) { return of(i).open; });
  }
  // When the first of `all` may be probed; kNever while all are being probed.
  Instant probe_at(const std::vector<BackendIndex>& all) const {
    Instant first = kNever;
    for (const BackendIndex i : all) {
      if (of(i).open && !of(i).probe) first = std::min(first, of(i).probe_at);
    }
    return first;
  }
  // What Retry-After says while the backends in `all` are open.
  Duration retry_after(const std::vector<BackendIndex>& all, Instant now) const {
    const Instant at = probe_at(all);
    if (at == kNever) return seconds(1);
    int64_t whole = 1;
    while (now + seconds(whole) < at) ++whole;
    return seconds(whole);
  }

  void guilty(uint64_t tenant, Instant now) {
    if (tenant == 0) return;
    std::vector<Instant>& faults = faults_[tenant];
    if (!faults.empty() && now - faults.back() <= seconds(60))
      alone_until_[tenant] = now + seconds(60);
    faults.push_back(now);
  }
  bool alone(uint64_t tenant, Instant now) const {
    const auto found = alone_until_.find(tenant);
    return found != alone_until_.end() && now < found->second;
  }

 private:
  struct PlainBreaker {
    uint32_t failures_max = 0;
    uint32_t failures = 0;
    bool open = false;
    std::optional<CallId> probe = {};
    Instant probe_at = {};
    int pauses = 0;
  };
  struct PlainBackend {
    uint32_t slots_max = 1;
    uint32_t slots = 1;
    uint32_t good = 0;
    std::optional<CallId> shrunk_at = {};
    double saved = 3;  // retries
    size_t breaker = 0;
  };
  PlainBreaker& of(BackendIndex backend) { return breakers_[backends_[backend].breaker]; }
  const PlainBreaker& of(BackendIndex backend) const {
    return breakers_[backends_[backend].breaker];
  }

  std::vector<PlainBackend> backends_;
  std::vector<PlainBreaker> breakers_;
  std::map<uint64_t, std::vector<Instant>> faults_;
  std::map<uint64_t, Instant> alone_until_;
  CallId last_call_ = 0;
};

}  // namespace sluice
