// SPDX-License-Identifier: Apache-2.0
#include "batcher/slots.h"

#include <algorithm>
#include <map>

#include "base/assert.h"

namespace sluice {

Slots::Slots(std::span<const BackendOptions> backends) {
  std::map<uint32_t, size_t> shared;
  for (const BackendOptions& options : backends) {
    ASSERT(options.slots > 0);
    size_t breaker = breakers_.size();
    if (options.breaker) breaker = shared.try_emplace(*options.breaker, breaker).first->second;
    if (breaker == breakers_.size()) breakers_.emplace_back(options.breaker_failures);
    Backend& backend = backends_.emplace_back();
    backend.slots = backend.slots_max = options.slots;
    backend.late_binding = options.late_binding;
    backend.breaker = breaker;
  }
}

std::optional<BackendIndex> Slots::choose(std::span<const BackendIndex> candidates, Instant now,
                                          std::optional<BackendIndex> avoid) const {
  std::optional<BackendIndex> best;
  for (const BackendIndex index : candidates) {
    const Backend& backend = backends_[index];
    if (!has_room(backend) || !breakers_[backend.breaker].lets(now)) continue;
    if (best && index == avoid) continue;
    // in_use / slots, compared without dividing.
    if (!best || best == avoid ||
        uint64_t{backend.in_use} * backends_[*best].slots <
            uint64_t{backends_[*best].in_use} * backend.slots) {
      best = index;
    }
  }
  return best;
}

bool Slots::occupy(BackendIndex backend, CallId call, Instant now) {
  Backend& taken = backends_[backend];
  ASSERT(has_room(taken));
  breakers_[taken.breaker].begin(call, now);
  taken.budget.earn();
  ++taken.in_use;
  ++in_use_;
  last_call_ = call;
  return taken.in_use > taken.slots;
}

bool Slots::lend(BackendIndex backend) {
  Backend& lender = backends_[backend];
  if (lender.late_binding) ++lender.lent;
  return lender.late_binding;
}

void Slots::release(BackendIndex backend, bool lent) {
  Backend& released = backends_[backend];
  ASSERT(released.in_use > 0 && released.lent >= (lent ? 1U : 0U));
  --released.in_use;
  if (lent) --released.lent;
  --in_use_;
}

void Slots::grow(BackendIndex backend) {
  Backend& grown = backends_[backend];
  if (grown.slots >= grown.slots_max || ++grown.good < grown.slots) return;
  grown.good = 0;
  ++grown.slots;
}

void Slots::shrink(BackendIndex backend, CallId call) {
  Backend& shrunk = backends_[backend];
  shrunk.good = 0;
  if (call <= shrunk.shrunk_at) return;
  shrunk.slots = std::max(shrunk.slots / 2, 1u);
  shrunk.shrunk_at = last_call_;
}

bool Slots::all_open(std::span<const BackendIndex> candidates) const {
  return std::all_of(candidates.begin(), candidates.end(), [this](BackendIndex index) {
    return breaker_of(index).state() != BreakerState::kClosed;
  });
}

std::optional<Duration> Slots::next_probe(std::span<const BackendIndex> candidates,
                                          Instant now) const {
  std::optional<Duration> first;
  for (const BackendIndex index : candidates) {
    const Breaker& breaker = breaker_of(index);
    if (breaker.state() != BreakerState::kOpen) continue;
    const Duration wait = std::max(breaker.probe_at() - now, Duration{});
    first = std::min(first.value_or(wait), wait);
  }
  return first;
}

std::optional<Instant> Slots::opens_at(std::span<const BackendIndex> candidates,
                                       Instant now) const {
  std::optional<Instant> first;
  for (const BackendIndex index : candidates) {
    const Breaker& breaker = breaker_of(index);
    if (breaker.state() != BreakerState::kOpen || breaker.lets(now)) continue;
    if (!has_room(backends_[index])) continue;
    first = std::min(first.value_or(kNever), breaker.probe_at());
  }
  return first;
}

void Slots::set_warm(BackendIndex backend, bool warm) {
  backends_[backend].warm = warm;
  backends_[backend].woken = false;
}

bool Slots::any_warm(std::span<const BackendIndex> candidates) const {
  return std::any_of(candidates.begin(), candidates.end(),
                     [this](BackendIndex index) { return backends_[index].warm; });
}

std::optional<BackendIndex> Slots::wake(std::span<const BackendIndex> candidates) {
  for (const BackendIndex index : candidates) {
    if (backends_[index].warm || backends_[index].woken) return std::nullopt;
  }
  backends_[candidates.front()].woken = true;
  return candidates.front();
}

}  // namespace sluice
