// SPDX-License-Identifier: Apache-2.0
#pragma once
// Slots: how many calls each backend has in flight and may have, and which of several backends
// takes the next one.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "batcher/options.h"

namespace sluice {

class Slots {
 public:
  // All backends start warm and with every slot free. REQUIRES: each has at least one slot
  explicit Slots(std::span<const BackendOptions> backends);

  // Of `candidates`, the warm backend that has the smallest part of its slots in use, the first of
  // equals; nullopt if none has a slot free.
  std::optional<BackendIndex> choose(std::span<const BackendIndex> candidates) const;
  // REQUIRES: `backend` is warm and has a slot free
  void occupy(BackendIndex backend);
  // REQUIRES: `backend` has a slot in use
  void release(BackendIndex backend);

  // Whether `backend` can take calls at once. Calls in flight are not touched.
  void set_warm(BackendIndex backend, bool warm);
  // Whether one of `candidates` is warm, busy or not.
  bool any_warm(std::span<const BackendIndex> candidates) const;
  // The first of `candidates` if it must be woken: all of them are cold, and none was named by this
  // since it was last heard of. Counts as having been woken then.
  std::optional<BackendIndex> wake(std::span<const BackendIndex> candidates);

  // Calls in flight on all backends.
  uint64_t in_use() const { return in_use_; }
  size_t size() const { return backends_.size(); }

 private:
  struct Backend {
    uint32_t slots = 1;
    uint32_t in_use = 0;
    bool warm = true;
    bool woken = false;  // asked to wake since it was last heard of
  };

  std::vector<Backend> backends_;
  uint64_t in_use_ = 0;
};

}  // namespace sluice
