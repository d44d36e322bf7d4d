// SPDX-License-Identifier: Apache-2.0
#include "batcher/slots.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice {

Slots::Slots(std::span<const BackendOptions> backends) {
  for (const BackendOptions& backend : backends) {
    ASSERT(backend.slots > 0);
    backends_.push_back({.slots = backend.slots});
  }
}

std::optional<BackendIndex> Slots::choose(std::span<const BackendIndex> candidates) const {
  std::optional<BackendIndex> best;
  for (const BackendIndex index : candidates) {
    const Backend& backend = backends_[index];
    if (!backend.warm || backend.in_use >= backend.slots) continue;
    // in_use / slots, compared without dividing.
    if (!best || uint64_t{backend.in_use} * backends_[*best].slots <
                     uint64_t{backends_[*best].in_use} * backend.slots) {
      best = index;
    }
  }
  return best;
}

void Slots::occupy(BackendIndex backend) {
  ASSERT(backends_[backend].warm && backends_[backend].in_use < backends_[backend].slots);
  ++backends_[backend].in_use;
  ++in_use_;
}

void Slots::release(BackendIndex backend) {
  ASSERT(backends_[backend].in_use > 0);
  --backends_[backend].in_use;
  --in_use_;
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
