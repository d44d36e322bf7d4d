// SPDX-License-Identifier: Apache-2.0
#pragma once
// Rooms: everything that waits for one model, one Queue per key, and which key goes next: of those
// that are ready the one whose head is oldest. A key is ready unless it is held for company
// (BatchLimits::wait_max). A key whose last row has left is forgotten.
//
// Beside the lines stand two kinds of pieces of failed calls: those that pause before they line up
// again, and parties, which leave before all lines and each as a call of its own. Both belong to
// their key and count wherever rows that wait are counted.

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "batcher/arrivals.h"
#include "batcher/heap.h"
#include "batcher/queue.h"

namespace sluice {

// One key's queue and its place among the others.
struct Room {
  Room(std::string key_given, const BatchLimits& limits, uint64_t& steps)
      : key(std::move(key_given)), queue(limits, steps) {}
  const std::string key;
  Queue queue;
  std::optional<Duration> gap;  // until the next request, as the last one made it look
  Instant last;                 // arrival
  bool was_held = false;        // since a batch left
  size_t ready_place = kNowhere;
  size_t held_place = kNowhere;
};

// Pieces that leave together and with nobody else.
struct Party {
  std::vector<Piece*> pieces;  // those of one request stand together
  std::list<Party>::iterator self;
};

// A batch as it leaves.
struct Departure {
  Weight weight;
  LeaveReason reason = LeaveReason::kIdle;
};

class Rooms {
 public:
  // `limits` and `steps` outlive the Rooms; `steps` counts the work done. Remembers how often
  // requests come for `keys_max` keys.
  Rooms(const BatchLimits& limits, uint64_t& steps, size_t keys_max);

  // Lets `piece`, a request that has just arrived, wait under `key`. REQUIRES as Queue::push.
  void arrive(const std::string& key, Piece& piece, Instant now);
  // Lets `piece` wait again.
  void push(const std::string& key, Piece& piece, Instant now);
  // Lets `piece` wait again from `until` on.
  void pause(const std::string& key, Piece& piece, Instant until);
  // Lets `pieces` leave as one batch, next after the parties that are there. REQUIRES: they fit
  // into one; not empty
  void send_alone(const std::string& key, std::vector<Piece*> pieces);
  // Takes `piece` out. REQUIRES: it waits here
  void remove(Piece& piece, Instant now);
  // Takes the next batch: the first party, or of the key that goes next. REQUIRES: has_ready()
  Departure take(Instant now, uint64_t& tie, std::vector<Share>& shares);

  // Lines up again what has paused until `now`, and makes those keys ready whose hold has ended.
  void end_waits(Instant now);
  // From now on nothing is held.
  void drain(Instant now);
  // When the next hold or pause ends; nullopt if there is none.
  std::optional<Instant> next_end() const;

  bool has_ready() const { return !parties_.empty() || !ready_.empty(); }
  // The oldest head of the ready keys; a party is older than all. REQUIRES: has_ready()
  Order head() const {
    return parties_.empty() ? ready_.top_order() : Order{Instant{INT64_MIN}, 0};
  }
  // The backend where that has just failed. REQUIRES: has_ready()
  std::optional<BackendIndex> avoid() const {
    return parties_.empty() ? ready_.top().queue.first().avoid : std::nullopt;
  }
  // Everything that waits, wherever.
  const Weight& weight() const { return weight_; }
  size_t keys() const { return rooms_.size(); }
  // The queue of `key`; nullptr if nothing waits under it. Valid until the next change.
  const Queue* find(const std::string& key) const;
  // Items of `tenant` that wait, under all keys.
  uint64_t items_of(uint64_t tenant) const;

 private:
  Room& enter(const std::string& key, Piece& piece);
  Instant hold_end(const Room& room) const;
  bool is_held(const Room& room, Instant now) const;
  void settle(Room& room, Instant now);
  void settle_vacant(Room& room);
  Departure take_party(std::vector<Share>& shares);
  void leave_party(Piece& piece);
  void count_out(uint64_t tenant, uint64_t items);

  const BatchLimits& limits_;
  uint64_t& steps_;
  bool draining_ = false;
  Weight weight_;
  std::unordered_map<std::string, std::unique_ptr<Room>> rooms_;
  std::unordered_map<uint64_t, uint64_t> tenant_items_;
  Heap<Room, &Room::ready_place> ready_;     // by the age of the head
  Heap<Room, &Room::held_place> held_;       // by the end of the hold
  Heap<Piece, &Piece::pause_place> paused_;  // by the end of the pause
  std::list<Party> parties_;
  Arrivals arrivals_;
};

}  // namespace sluice
