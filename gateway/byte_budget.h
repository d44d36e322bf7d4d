// SPDX-License-Identifier: Apache-2.0
#pragma once
// ByteBudget: what the process may hold for its clients, request bodies and answers together.
// Shared by all I/O threads; one atomic addition per change.

#include <atomic>
#include <cstdint>

#include "base/assert.h"

namespace sluice {

class ByteBudget {
 public:
  explicit ByteBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  // Takes `bytes`, or takes nothing and returns false if that would be too much. From any thread.
  bool take(uint64_t bytes) {
    const uint64_t before = held_.fetch_add(bytes, std::memory_order_relaxed);
    if (before + bytes <= bytes_max_) return true;
    held_.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  // Gives back what was taken. From any thread.
  void give(uint64_t bytes) {
    const uint64_t before = held_.fetch_sub(bytes, std::memory_order_relaxed);
    ASSERT(before >= bytes);
  }
  uint64_t held() const { return held_.load(std::memory_order_relaxed); }

 private:
  const uint64_t bytes_max_;
  std::atomic<uint64_t> held_{0};
};

}  // namespace sluice
