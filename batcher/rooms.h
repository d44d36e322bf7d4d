// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rooms: everything that waits for one model, one Queue per key, and which key goes next: of those
// that are ready the one whose head is oldest. A key is ready unless it is held for company
// (BatchLimits::wait_max). A key whose last row has left is forgotten.

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "batcher/heap.h"
#include "batcher/queue.h"

namespace sluice {

// One key's queue and its place among the others.
struct Room {
  Room(std::string key_given, const BatchLimits& limits, uint64_t& steps)
      : key(std::move(key_given)), queue(limits, steps) {}
  const std::string key;
  Queue queue;
  size_t ready_place = kNowhere;
  size_t held_place = kNowhere;
};

// A batch as it leaves.
struct Departure {
  Weight weight;
  LeaveReason reason = LeaveReason::kIdle;
};

class Rooms {
 public:
  // Both outlive the Rooms; `steps` counts the work done.
  Rooms(const BatchLimits& limits, uint64_t& steps);

  // Lets `piece` wait under `key`. REQUIRES as Queue::push.
  void push(const std::string& key, Piece& piece, Instant now);
  // Takes `piece` out. REQUIRES: it waits here
  void remove(Piece& piece, Instant now);
  // Takes the next batch of the key that goes next. REQUIRES: has_ready()
  Departure take(Instant now, uint64_t& tie, std::vector<Share>& shares);

  // Makes those keys ready whose hold has ended by `now`.
  void end_holds(Instant now);
  // From now on nothing is held.
  void drain(Instant now);
  // When the next hold ends; nullopt if nothing is held.
  std::optional<Instant> next_hold() const;

  bool has_ready() const { return !ready_.empty(); }
  // The oldest head of the ready keys. REQUIRES: has_ready()
  Order head() const { return ready_.top_order(); }
  // Everything that waits, held or not.
  const Weight& weight() const { return weight_; }
  size_t keys() const { return rooms_.size(); }
  // The queue of `key`; nullptr if nothing waits under it. Valid until the next change.
  const Queue* find(const std::string& key) const;
  // Items of `tenant` that wait, under all keys.
  uint64_t items_of(uint64_t tenant) const;

 private:
  bool is_held(const Room& room, Instant now) const;
  void settle(Room& room, Instant now);
  void count_out(uint64_t tenant, uint64_t items);

  const BatchLimits& limits_;
  uint64_t& steps_;
  bool draining_ = false;
  Weight weight_;
  std::unordered_map<std::string, std::unique_ptr<Room>> rooms_;
  std::unordered_map<uint64_t, uint64_t> tenant_items_;
  Heap<Room, &Room::ready_place> ready_;  // by the age of the head
  Heap<Room, &Room::held_place> held_;    // by the end of the hold
};

}  // namespace sluice
