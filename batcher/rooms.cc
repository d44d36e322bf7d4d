// SPDX-License-Identifier: Apache-2.0
#include "batcher/rooms.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/assert.h"

namespace sluice {
namespace {

// Company is expected while this many requests are, in what is left of the wait.
constexpr double kExpectedMin = 0.05;
// A key that has been silent for this many gaps has fallen silent: with independent clients that
// happens by chance once in 3,000 gaps.
constexpr int64_t kSilence = 8;

}  // namespace

Rooms::Rooms(const BatchLimits& limits, uint64_t& steps, size_t keys_max)
    : limits_(limits),
      steps_(steps),
      ready_(steps),
      held_(steps),
      paused_(steps),
      arrivals_(std::max<size_t>(keys_max, 1)) {}

// Counts `piece` among what waits under `key`.
Room& Rooms::enter(const std::string& key, Piece& piece) {
  std::unique_ptr<Room>& room = rooms_[key];
  if (room == nullptr) room = std::make_unique<Room>(key, limits_, steps_);
  piece.room = room.get();
  weight_ += piece.weight;
  tenant_items_[piece.tenant] += piece.weight.items;
  return *room;
}

void Rooms::arrive(const std::string& key, Piece& piece, Instant now) {
  Room& room = enter(key, piece);
  if (limits_.wait_max > Duration{}) {
    room.gap = arrivals_.note(key, now);
    room.last = now;
  }
  room.queue.push(piece);
  settle(room, now);
}

void Rooms::push(const std::string& key, Piece& piece, Instant now) {
  Room& room = enter(key, piece);
  room.queue.push(piece);
  settle(room, now);
}

void Rooms::pause(const std::string& key, Piece& piece, Instant until) {
  enter(key, piece).queue.step_out(piece.tenant);
  paused_.insert({until, piece.order.tie}, piece);
}

void Rooms::send_alone(const std::string& key, std::vector<Piece*> pieces) {
  ASSERT(!pieces.empty());
  Party& party = parties_.emplace_back();
  party.self = std::prev(parties_.end());
  party.pieces = std::move(pieces);
  for (Piece* piece : party.pieces) {
    enter(key, *piece).queue.step_out(piece->tenant);
    piece->party = &party;
  }
}

void Rooms::remove(Piece& piece, Instant now) {
  Room& room = *piece.room;
  weight_ -= piece.weight;
  count_out(piece.tenant, piece.weight.items);
  if (piece.party != nullptr) {
    leave_party(piece);
    settle_vacant(room);
  } else if (paused_.contains(piece)) {
    paused_.remove(piece);
    room.queue.step_back(piece.tenant);
    settle_vacant(room);
  } else {
    room.queue.remove(piece);
    settle(room, now);
  }
}

void Rooms::leave_party(Piece& piece) {
  Party& party = *std::exchange(piece.party, nullptr);
  party.pieces.erase(std::find(party.pieces.begin(), party.pieces.end(), &piece));
  piece.room->queue.step_back(piece.tenant);
  if (party.pieces.empty()) parties_.erase(party.self);
}

Departure Rooms::take(Instant now, uint64_t& tie, std::vector<Share>& shares) {
  if (!parties_.empty()) return take_party(shares);
  Room& room = ready_.top();
  const size_t shares_before = shares.size();
  const Taken taken = room.queue.take(now, tie, shares);
  weight_ -= taken.weight;
  for (size_t i = shares_before; i < shares.size(); ++i) {
    count_out(shares[i].piece->tenant, shares[i].count);
  }
  const bool was_held = std::exchange(room.was_held, false);
  settle(room, now);
  if (taken.full) return {taken.weight, *taken.full};
  if (limits_.wait_max == Duration{}) return {taken.weight, LeaveReason::kIdle};
  if (draining_) return {taken.weight, LeaveReason::kDrain};
  return {taken.weight, was_held ? LeaveReason::kHeld : LeaveReason::kQuiet};
}

Departure Rooms::take_party(std::vector<Share>& shares) {
  Departure departure{.weight = {}, .reason = LeaveReason::kSplit};
  for (Piece* piece : parties_.front().pieces) {
    piece->party = nullptr;
    departure.weight += piece->weight;
    count_out(piece->tenant, piece->weight.items);
    piece->room->queue.step_back(piece->tenant);
    settle_vacant(*piece->room);
    shares.push_back({piece, piece->first, static_cast<uint32_t>(piece->rows.size()), true});
  }
  weight_ -= departure.weight;
  parties_.pop_front();
  return departure;
}

void Rooms::end_waits(Instant now) {
  while (!paused_.empty() && paused_.top_order().at <= now) {
    Piece& piece = paused_.top();
    Room& room = *piece.room;
    paused_.remove(piece);
    room.queue.push(piece);
    room.queue.step_back(piece.tenant);
    settle(room, now);
  }
  while (!held_.empty() && held_.top_order().at <= now) settle(held_.top(), now);
}

void Rooms::drain(Instant now) {
  draining_ = true;
  while (!held_.empty()) settle(held_.top(), now);
}

std::optional<Instant> Rooms::next_end() const {
  if (held_.empty() && paused_.empty()) return std::nullopt;
  return std::min(held_.empty() ? kNever : held_.top_order().at,
                  paused_.empty() ? kNever : paused_.top_order().at);
}

const Queue* Rooms::find(const std::string& key) const {
  const auto found = rooms_.find(key);
  return found == rooms_.end() ? nullptr : &found->second->queue;
}

uint64_t Rooms::items_of(uint64_t tenant) const {
  const auto found = tenant_items_.find(tenant);
  return found == tenant_items_.end() ? 0 : found->second;
}

// When `room` stops waiting for company: when its first piece must leave, or before, as soon as
// nobody is to be expected in what is left until then.
Instant Rooms::hold_end(const Room& room) const {
  if (!room.gap) return Instant{INT64_MIN};
  const Duration margin = from_seconds(room.gap->seconds() * kExpectedMin);
  return std::min(room.queue.leave_by() - margin, room.last + *room.gap * kSilence);
}

bool Rooms::is_held(const Room& room, Instant now) const {
  return limits_.wait_max > Duration{} && !draining_ && !room.queue.full() && hold_end(room) > now;
}

// Brings the places of `room` up to date after a change; a vacant room is freed.
void Rooms::settle(Room& room, Instant now) {
  const bool held = !room.queue.empty() && is_held(room, now);
  const bool ready = !room.queue.empty() && !held;
  if (ready) {
    ready_.update(room.queue.head(), room);
  } else if (ready_.contains(room)) {
    ready_.remove(room);
  }
  if (held) {
    room.was_held = true;
    held_.update({hold_end(room), room.queue.head().tie}, room);
  } else if (held_.contains(room)) {
    held_.remove(room);
  }
  settle_vacant(room);
}

void Rooms::settle_vacant(Room& room) {
  if (room.queue.vacant()) rooms_.erase(rooms_.find(room.key));
}

void Rooms::count_out(uint64_t tenant, uint64_t items) {
  const auto found = tenant_items_.find(tenant);
  ASSERT(found != tenant_items_.end() && found->second >= items);
  found->second -= items;
  if (found->second == 0) tenant_items_.erase(found);
}

}  // namespace sluice
