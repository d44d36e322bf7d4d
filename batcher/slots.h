// SPDX-License-Identifier: Apache-2.0
#pragma once
// Slots: how many calls each backend has in flight and may have, whether it is to be spared, and
// which of several backends takes the next one.
//
// The slots of a backend that answers 429 are halved, and grow again by one for as many good calls
// as there are slots. A backend that fails in a row is spared by its breaker.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "batcher/breaker.h"
#include "batcher/options.h"
#include "batcher/retry.h"

namespace sluice {

class Slots {
 public:
  // All backends start warm and with every slot free. REQUIRES: each has at least one slot
  explicit Slots(std::span<const BackendOptions> backends);

  // Of `candidates`, the warm backend that has the smallest part of its slots in use and that its
  // breaker lets be called, the first of equals; `avoid` only if it is the only one. nullopt if
  // none has a slot free.
  std::optional<BackendIndex> choose(std::span<const BackendIndex> candidates, Instant now,
                                     std::optional<BackendIndex> avoid = {}) const;
  // `call` takes a slot of `backend`; true if it is one that is only about to be free. REQUIRES:
  // choose() may name `backend`
  bool occupy(BackendIndex backend, CallId call, Instant now);
  // A call of `backend` is about to end: true if its slot may be given to the next one already.
  bool lend(BackendIndex backend);
  // A call of `backend` has ended; `lent` is what lend() said of it. REQUIRES: it had a slot in use
  void release(BackendIndex backend, bool lent = false);

  // A call of `backend` went well.
  void grow(BackendIndex backend);
  // `call` of `backend` was answered 429. Calls that began before the last one to shrink it say
  // nothing new.
  void shrink(BackendIndex backend, CallId call);
  // Whether `backend` may be asked the same again; takes it from its budget if so.
  bool spend_retry(BackendIndex backend) { return backends_[backend].budget.spend(); }

  // The breaker that `backend` is behind.
  Breaker& breaker_of(BackendIndex backend) { return breakers_[backends_[backend].breaker]; }
  // The breaker that `backend` has, alone or with others.
  // The same, to look at.
  const Breaker& breaker_of(BackendIndex backend) const {
    return breakers_[backends_[backend].breaker];
  }
  // Whether `a` and `b` share a breaker.
  bool same_breaker(BackendIndex a, BackendIndex b) const {
    return backends_[a].breaker == backends_[b].breaker;
  }
  // Whether the breakers of all `candidates` are open.
  bool all_open(std::span<const BackendIndex> candidates) const;
  // How long until one of `candidates` may be probed, zero if one may be now; nullopt while all
  // wait for what becomes of a probe. REQUIRES: all_open(candidates)
  std::optional<Duration> next_probe(std::span<const BackendIndex> candidates, Instant now) const;
  // When the first of `candidates` may be called that only its breaker keeps from it now.
  std::optional<Instant> opens_at(std::span<const BackendIndex> candidates, Instant now) const;

  // Whether `backend` can take calls at once. Calls in flight are not touched.
  void set_warm(BackendIndex backend, bool warm);
  // Whether one of `candidates` is warm, busy or not.
  bool any_warm(std::span<const BackendIndex> candidates) const;
  // The first of `candidates` if it must be woken: all of them are cold, and none was named by this
  // since it was last heard of. Counts as having been woken then.
  std::optional<BackendIndex> wake(std::span<const BackendIndex> candidates);

  // Calls in flight on all backends.
  uint64_t in_use() const { return in_use_; }
  // What `backend` has slots for now.
  uint32_t slots_of(BackendIndex backend) const { return backends_[backend].slots; }
  size_t size() const { return backends_.size(); }

 private:
  struct Backend {
    uint32_t slots_max = 1;
    uint32_t slots = 1;  // now
    uint32_t in_use = 0;
    bool late_binding = false;
    uint32_t lent = 0;     // slots of calls that are about to end
    uint32_t good = 0;     // calls since slots last changed
    CallId shrunk_at = 0;  // the last call there was when slots were halved
    size_t breaker = 0;
    RetryBudget budget;
    bool warm = true;
    bool woken = false;  // asked to wake since it was last heard of
  };

  bool has_room(const Backend& backend) const {
    return backend.warm && backend.in_use < backend.slots + std::min(backend.lent, backend.slots);
  }

  std::vector<Backend> backends_;
  std::vector<Breaker> breakers_;
  uint64_t in_use_ = 0;
  CallId last_call_ = 0;
};

}  // namespace sluice
