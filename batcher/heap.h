// SPDX-License-Identifier: Apache-2.0
#pragma once
// Heap: things ordered by an instant, from which any of them can be taken out again in O(log n).
// Each thing remembers its own place, so that nothing has to be searched for. It serves wherever
// the core asks "which is the earliest": deadlines, holds, rows by age, keys by age.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "base/time.h"

namespace sluice {

// A place in a line: earlier instants first, equal ones by `tie`, which grows with each arrival.
struct Order {
  Instant at;
  uint64_t tie = 0;
  friend constexpr auto operator<=>(const Order&, const Order&) = default;
};

// The place of a thing that is in no heap.
inline constexpr size_t kNowhere = SIZE_MAX;

// A binary heap of T&, earliest Order on top. `T::*kPlace` must be kNowhere at first and belongs to
// the heap; one T may be in several heaps through several members. Owns nothing: a T must leave
// before it dies.
template <typename T, size_t T::* kPlace>
class Heap {
 public:
  // `steps` outlives the heap and grows by one per comparison or move.
  explicit Heap(uint64_t& steps) : steps_(steps) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  static bool contains(const T& thing) { return thing.*kPlace != kNowhere; }
  // The earliest. REQUIRES: not empty
  T& top() const {
    ASSERT(!empty());
    return *entries_.front().thing;
  }
  // The Order of the earliest. REQUIRES: not empty
  Order top_order() const {
    ASSERT(!empty());
    return entries_.front().order;
  }

  // REQUIRES: !contains(thing)
  void insert(Order order, T& thing) {
    ASSERT(!contains(thing));
    entries_.push_back({order, &thing});
    thing.*kPlace = entries_.size() - 1;
    rise(entries_.size() - 1);
  }
  // REQUIRES: contains(thing), in this heap
  void remove(T& thing) {
    const size_t at = thing.*kPlace;
    ASSERT(at < entries_.size() && entries_[at].thing == &thing);
    thing.*kPlace = kNowhere;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (at == entries_.size()) return;
    put(at, last);
    settle(at);
  }
  // Puts `thing` in at `order`, or moves it there if it is in.
  void update(Order order, T& thing) {
    if (!contains(thing)) return insert(order, thing);
    const size_t at = thing.*kPlace;
    ASSERT(at < entries_.size() && entries_[at].thing == &thing);
    if (entries_[at].order == order) return;
    entries_[at].order = order;
    settle(at);
  }

 private:
  struct Entry {
    Order order;
    T* thing;
  };

  void put(size_t at, Entry entry) {
    entries_[at] = entry;
    entry.thing->*kPlace = at;
  }
  void settle(size_t at) {
    rise(at);
    sink(at);
  }
  void rise(size_t at) {
    const Entry entry = entries_[at];
    while (at > 0) {
      const size_t parent = (at - 1) / 2;
      ++steps_;
      if (entries_[parent].order <= entry.order) break;
      put(at, entries_[parent]);
      at = parent;
    }
    put(at, entry);
  }
  void sink(size_t at) {
    const Entry entry = entries_[at];
    for (size_t child = 2 * at + 1; child < entries_.size(); child = 2 * at + 1) {
      if (child + 1 < entries_.size() && entries_[child + 1].order < entries_[child].order) ++child;
      steps_ += 2;
      if (entry.order <= entries_[child].order) break;
      put(at, entries_[child]);
      at = child;
    }
    put(at, entry);
  }

  std::vector<Entry> entries_;
  uint64_t& steps_;
};

}  // namespace sluice
