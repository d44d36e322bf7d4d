// SPDX-License-Identifier: Apache-2.0
#pragma once
// Timers by deadline: a binary heap whose members know their place in it, so that moving or
// removing one costs O(log n) as well. Equal deadlines come out in the order they were armed.
// It knows no clock; one loop owns it and only that loop's thread touches it.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/time.h"

namespace sluice {

class TimerHeap {
 public:
  // What is kept in the heap. A member must be disarmed before it dies; it does not move.
  class Node {
   public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    bool armed() const { return place_ != kNowhere; }

   private:
    friend class TimerHeap;
    size_t place_ = kNowhere;
  };

  // Puts `node` at `when`, whether or not it was in the heap; kNever takes it out.
  void arm(Node& node, Instant when) {
    if (when == kNever) return disarm(node);
    if (!node.armed()) {
      node.place_ = entries_.size();
      entries_.push_back({});
    }
    const size_t place = node.place_;
    entries_[place] = {when, next_order_++, &node};
    if (!rise(place)) sink(place);
  }

  // Takes `node` out, if it is in.
  void disarm(Node& node) {
    if (!node.armed()) return;
    const size_t place = std::exchange(node.place_, kNowhere);
    const Entry last = entries_.back();
    entries_.pop_back();
    if (place == entries_.size()) return;
    put(place, last);
    if (!rise(place)) sink(place);
  }

  // The earliest deadline; kNever when the heap is empty.
  Instant earliest() const { return entries_.empty() ? kNever : entries_.front().when; }
  size_t size() const { return entries_.size(); }

  // A mark that separates what is armed already from what will be armed later.
  uint64_t mark() const { return next_order_; }
  // Takes out and returns the earliest node that is due at `now` and was armed before `mark`;
  // null if there is none. Nodes armed for the past while others are run must wait their turn,
  // or a timer that arms itself for now would never let go.
  Node* take_due(Instant now, uint64_t mark) {
    if (entries_.empty() || entries_.front().when > now) return nullptr;
    if (entries_.front().order >= mark) return nullptr;
    Node* node = entries_.front().node;
    disarm(*node);
    return node;
  }

 private:
  static constexpr size_t kNowhere = SIZE_MAX;
  struct Entry {
    Instant when;
    uint64_t order = 0;
    Node* node = nullptr;
    bool before(const Entry& other) const {
      return when != other.when ? when < other.when : order < other.order;
    }
  };

  void put(size_t place, const Entry& entry) {
    entries_[place] = entry;
    entry.node->place_ = place;
  }
  // Moves the entry at `place` towards the root; returns whether it moved.
  bool rise(size_t place) {
    const Entry entry = entries_[place];
    const size_t start = place;
    while (place > 0 && entry.before(entries_[(place - 1) / 2])) {
      put(place, entries_[(place - 1) / 2]);
      place = (place - 1) / 2;
    }
    put(place, entry);
    return place != start;
  }
  void sink(size_t place) {
    const Entry entry = entries_[place];
    for (size_t child = 2 * place + 1; child < entries_.size(); child = 2 * place + 1) {
      if (child + 1 < entries_.size() && entries_[child + 1].before(entries_[child])) ++child;
      if (!entries_[child].before(entry)) break;
      put(place, entries_[child]);
      place = child;
    }
    put(place, entry);
  }

  std::vector<Entry> entries_;
  uint64_t next_order_ = 0;
};

}  // namespace sluice
