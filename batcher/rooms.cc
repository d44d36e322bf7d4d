// SPDX-License-Identifier: Apache-2.0
#include "batcher/rooms.h"

#include "base/assert.h"

namespace sluice {

Rooms::Rooms(const BatchLimits& limits, uint64_t& steps)
    : limits_(limits), steps_(steps), ready_(steps), held_(steps) {}

void Rooms::push(const std::string& key, Piece& piece, Instant now) {
  std::unique_ptr<Room>& room = rooms_[key];
  if (room == nullptr) room = std::make_unique<Room>(key, limits_, steps_);
  piece.room = room.get();
  weight_ += piece.weight;
  tenant_items_[piece.tenant] += piece.weight.items;
  room->queue.push(piece);
  settle(*room, now);
}

void Rooms::remove(Piece& piece, Instant now) {
  Room& room = *piece.room;
  weight_ -= piece.weight;
  count_out(piece.tenant, piece.weight.items);
  room.queue.remove(piece);
  settle(room, now);
}

Departure Rooms::take(Instant now, uint64_t& tie, std::vector<Share>& shares) {
  Room& room = ready_.top();
  const bool was_due = room.queue.leave_by() <= now;
  const size_t shares_before = shares.size();
  const Taken taken = room.queue.take(now, tie, shares);
  weight_ -= taken.weight;
  for (size_t i = shares_before; i < shares.size(); ++i) {
    count_out(shares[i].piece->tenant, shares[i].count);
  }
  settle(room, now);
  if (taken.full) return {taken.weight, *taken.full};
  if (limits_.wait_max == Duration{}) return {taken.weight, LeaveReason::kIdle};
  return {taken.weight, was_due ? LeaveReason::kHeld : LeaveReason::kDrain};
}

void Rooms::end_holds(Instant now) {
  while (!held_.empty() && held_.top_order().at <= now) settle(held_.top(), now);
}

void Rooms::drain(Instant now) {
  draining_ = true;
  while (!held_.empty()) settle(held_.top(), now);
}

std::optional<Instant> Rooms::next_hold() const {
  if (held_.empty()) return std::nullopt;
  return held_.top_order().at;
}

const Queue* Rooms::find(const std::string& key) const {
  const auto found = rooms_.find(key);
  return found == rooms_.end() ? nullptr : &found->second->queue;
}

uint64_t Rooms::items_of(uint64_t tenant) const {
  const auto found = tenant_items_.find(tenant);
  return found == tenant_items_.end() ? 0 : found->second;
}

bool Rooms::is_held(const Room& room, Instant now) const {
  return limits_.wait_max > Duration{} && !draining_ && !room.queue.full() &&
         room.queue.leave_by() > now;
}

// Brings the places of `room` up to date after a change; an empty room is freed.
void Rooms::settle(Room& room, Instant now) {
  const bool held = !room.queue.empty() && is_held(room, now);
  const bool ready = !room.queue.empty() && !held;
  if (ready) {
    ready_.update(room.queue.head(), room);
  } else if (ready_.contains(room)) {
    ready_.remove(room);
  }
  if (held) {
    held_.update({room.queue.leave_by(), room.queue.head().tie}, room);
  } else if (held_.contains(room)) {
    held_.remove(room);
  }
  if (room.queue.empty()) rooms_.erase(rooms_.find(room.key));
}

void Rooms::count_out(uint64_t tenant, uint64_t items) {
  const auto found = tenant_items_.find(tenant);
  ASSERT(found != tenant_items_.end() && found->second >= items);
  found->second -= items;
  if (found->second == 0) tenant_items_.erase(found);
}

}  // namespace sluice
