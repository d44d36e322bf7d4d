// SPDX-License-Identifier: Apache-2.0
#pragma once
// Queue: where the rows of one key wait, and who of them goes next.
//
// Tenants share it by deficit round robin: a turn is worth a quantum of tokens (where rows have
// them) or items, what a tenant does not use up of it waits for its next turn, and what it never
// had cannot be taken. Inside a tenant, the oldest goes first, where a level of priority counts as
// age: whoever waits long enough is older than any priority, so nobody starves.
//
// What waits is a piece: consecutive rows of one request. It may be cut at any row. A piece cut at
// the edge of a batch keeps its place; one of a request larger than a whole batch lines up again
// behind those that were waiting, so that it does not block them.

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "batcher/heap.h"
#include "batcher/options.h"
#include "batcher/row.h"

namespace sluice {

struct Live;
struct Party;
struct Room;

// Consecutive rows of one request that wait. Owned by whoever pushes it; in a Queue it must stay
// where it is, and only the Queue changes it.
struct Piece {
  Live* live = nullptr;    // whose it is; never looked into here
  Room* room = nullptr;    // where it waits; never looked into here
  size_t index = 0;        // its place among its owner's pieces; never looked into here
  Party* party = nullptr;  // with whom it leaves, if not from a line; never looked into here
  uint64_t tenant = 0;
  Order order;                // its place inside its tenant
  Instant leave_by = kNever;  // waiting for company must end here
  bool oversize = false;      // its request is larger than a whole batch
  uint32_t attempts = 0;      // calls its rows have been part of, but for those that were split
  std::optional<BackendIndex> avoid = {};  // where it has just failed; another one is better
  uint32_t first = 0;                      // the index of rows[0] in its request
  std::span<const Row> rows;               // outlive the piece
  Weight weight;                           // of rows
  size_t age_place = kNowhere;
  size_t leave_place = kNowhere;
  size_t pause_place = kNowhere;
};

// Rows [first, first + count) of `piece`'s request, taken out of a Queue.
struct Share {
  Piece* piece = nullptr;
  uint32_t first = 0;
  uint32_t count = 0;
  bool last = false;  // nothing of `piece` is left: it is in no Queue now
};

// What a batch holds, and the limit that closed it, if one did.
struct Taken {
  Weight weight;
  std::optional<LeaveReason> full;
};

// The weight of one row, and sums of weights.
Weight weight_of(const Row& row);
Weight weight_of(std::span<const Row> rows);
Weight& operator+=(Weight& a, const Weight& b);
// REQUIRES: b is no larger than a in any budget
Weight& operator-=(Weight& a, const Weight& b);
// The limit that `weight` is above, if any.
std::optional<LeaveReason> broken_limit(const Weight& weight, const BatchLimits& limits);

class Queue {
 public:
  // Both outlive the Queue; `steps` counts the work done.
  Queue(const BatchLimits& limits, uint64_t& steps);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // REQUIRES: `piece` has rows and is in no Queue
  void push(Piece& piece);
  // REQUIRES: `piece` is in this Queue
  void remove(Piece& piece);
  // Takes the next batch out: within the limits, but for a row that alone is above them. Appends to
  // `shares`; a piece may come in several. A piece that must line up again gets `now` as its
  // arrival and the next `tie`.
  Taken take(Instant now, uint64_t& tie, std::vector<Share>& shares);

  // A piece of `tenant` that belongs here stands elsewhere, until it is back: the tenant stays
  // known although nothing of it may be in line.
  void step_out(uint64_t tenant);
  // REQUIRES: step_out(tenant), once for each
  void step_back(uint64_t tenant);

  // Whether nothing is in line.
  bool empty() const { return ring_.empty(); }
  // Whether nothing is in line and nothing has stepped out.
  bool vacant() const { return tenants_.empty(); }
  // Everything that waits in line.
  const Weight& weight() const { return weight_; }
  // Whether what waits fills a batch, so that waiting for company is in vain.
  bool full() const;
  // The oldest place in any tenant's line. REQUIRES: not empty
  Order head() const { return heads_.top_order(); }
  // The piece there. REQUIRES: not empty
  const Piece& first() const { return heads_.top().pieces.top(); }
  // When the first piece must stop waiting for company; kNever if none must.
  Instant leave_by() const { return leaves_.empty() ? kNever : leaves_.top_order().at; }
  size_t tenants() const { return tenants_.size(); }
  bool has_tenant(uint64_t tenant) const { return tenants_.contains(tenant); }

 private:
  struct Tenant {
    Tenant(uint64_t tenant, uint64_t& steps) : id(tenant), pieces(steps) {}
    uint64_t id;
    uint64_t deficit = 0;  // what it may still take in this turn
    bool in_turn = false;
    uint32_t out = 0;  // its pieces that have stepped out
    size_t head_place = kNowhere;
    Heap<Piece, &Piece::age_place> pieces;
  };

  uint64_t cost(const Row& row) const;
  uint64_t quantum() const;
  void take_turn(Tenant& tenant, Taken& taken, std::vector<Share>& shares);
  void hand_out(Tenant& tenant, Piece& piece, uint32_t count, std::vector<Share>& shares);
  void settle(Tenant& tenant);

  const BatchLimits& limits_;
  uint64_t& steps_;
  Weight weight_;
  uint64_t row_cost_max_ = 1;  // the dearest row so far
  std::list<Tenant> ring_;     // tenants with rows in line, the one whose turn it is first
  std::list<Tenant> away_;     // tenants all of whose pieces have stepped out
  std::unordered_map<uint64_t, std::list<Tenant>::iterator> tenants_;
  Heap<Tenant, &Tenant::head_place> heads_;  // tenants by their oldest piece
  Heap<Piece, &Piece::leave_place> leaves_;  // pieces whose wait for company ends
};

}  // namespace sluice
