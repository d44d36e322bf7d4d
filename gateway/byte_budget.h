// SPDX-License-Identifier: Apache-2.0
#pragma once
// ByteBudget: what the process may hold for its clients: request bodies, answers of endpoints,
// what waits of streams, answers being written. Shared by all threads; one atomic addition per
// change.

#include <atomic>
#include <cstdint>

#include "base/assert.h"
#include "base/chunk.h"

namespace sluice {

class ByteBudget final : public ByteAccount {
 public:
  explicit ByteBudget(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  bool take(uint64_t bytes) override {
    const uint64_t before = held_.fetch_add(bytes, std::memory_order_relaxed);
    if (before + bytes <= bytes_max_) return true;
    held_.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  // Takes `bytes` that are there already, even if that is too much. From any thread.
  void add(uint64_t bytes) { held_.fetch_add(bytes, std::memory_order_relaxed); }
  void give(uint64_t bytes) override {
    const uint64_t before = held_.fetch_sub(bytes, std::memory_order_relaxed);
    ASSERT(before >= bytes);
  }
  uint64_t held() const { return held_.load(std::memory_order_relaxed); }
  // Whether streams must stop: they may use three quarters of it, so that whatever is answered in
  // one piece, which gives bytes back, finds room. From any thread.
  bool nearly_full() const { return held() > bytes_max_ / 4 * 3; }
  // Whether they may go on: a little later, so that they do not stop again at once.
  bool eased() const { return held() <= bytes_max_ / 8 * 5; }

 private:
  const uint64_t bytes_max_;
  std::atomic<uint64_t> held_{0};
};

}  // namespace sluice
