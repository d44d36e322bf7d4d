// SPDX-License-Identifier: Apache-2.0
#include "batcher/queue.h"

#include <algorithm>

#include "base/assert.h"

namespace sluice {
namespace {

// A turn is at most this part of a batch, so that a batch is shared by that many tenants.
constexpr uint64_t kTurnsPerBatch = 16;

}  // namespace

Weight weight_of(const Row& row) {
  return {1, std::max(row.payload.size(), row.wire.size()), row.tokens};
}

Weight weight_of(std::span<const Row> rows) {
  Weight sum;
  for (const Row& row : rows) sum += weight_of(row);
  return sum;
}

Weight& operator+=(Weight& a, const Weight& b) {
  a.items += b.items;
  a.bytes += b.bytes;
  a.tokens += b.tokens;
  return a;
}

Weight& operator-=(Weight& a, const Weight& b) {
  ASSERT(a.items >= b.items && a.bytes >= b.bytes && a.tokens >= b.tokens);
  a.items -= b.items;
  a.bytes -= b.bytes;
  a.tokens -= b.tokens;
  return a;
}

std::optional<LeaveReason> broken_limit(const Weight& weight, const BatchLimits& limits) {
  if (weight.items > limits.items_max) return LeaveReason::kItems;
  if (limits.tokens_max > 0 && weight.tokens > limits.tokens_max) return LeaveReason::kTokens;
  if (weight.bytes > limits.bytes_max) return LeaveReason::kBytes;
  return std::nullopt;
}

Queue::Queue(const BatchLimits& limits, uint64_t& steps)
    : limits_(limits), steps_(steps), heads_(steps), leaves_(steps) {
  ASSERT(limits.items_max > 0 && limits.bytes_max > 0);
}

Queue::~Queue() = default;

uint64_t Queue::cost(const Row& row) const {
  return limits_.tokens_max > 0 && row.tokens > 0 ? row.tokens : 1;
}

// At least the dearest row, so that every turn moves a row and a batch costs no more turns than it
// has rows.
uint64_t Queue::quantum() const {
  const bool in_tokens = limits_.tokens_max > 0 && weight_.tokens > 0;
  const uint64_t batch = in_tokens ? limits_.tokens_max : limits_.items_max;
  return std::max(row_cost_max_, batch / kTurnsPerBatch);
}

void Queue::push(Piece& piece) {
  ASSERT(!piece.rows.empty());
  auto [found, is_new] = tenants_.try_emplace(piece.tenant);
  if (is_new) found->second = ring_.emplace(ring_.end(), piece.tenant, steps_);
  Tenant& tenant = *found->second;
  if (!is_new && tenant.pieces.empty()) ring_.splice(ring_.end(), away_, found->second);
  for (const Row& row : piece.rows) row_cost_max_ = std::max(row_cost_max_, cost(row));
  steps_ += piece.rows.size();
  weight_ += piece.weight;
  tenant.pieces.insert(piece.order, piece);
  if (piece.leave_by != kNever) leaves_.insert({piece.leave_by, piece.order.tie}, piece);
  settle(tenant);
}

void Queue::remove(Piece& piece) {
  const auto found = tenants_.find(piece.tenant);
  ASSERT(found != tenants_.end());
  Tenant& tenant = *found->second;
  tenant.pieces.remove(piece);
  if (leaves_.contains(piece)) leaves_.remove(piece);
  weight_ -= piece.weight;
  settle(tenant);
}

Taken Queue::take(Instant now, uint64_t& tie, std::vector<Share>& shares) {
  Taken taken;
  const size_t shares_before = shares.size();
  while (!ring_.empty() && !taken.full) take_turn(ring_.front(), taken, shares);
  if (!taken.full && taken.weight.items > 0) {
    Weight more = taken.weight;
    more += Weight{1, 1, 1};
    taken.full = broken_limit(more, limits_);
  }
  for (size_t i = shares_before; i < shares.size(); ++i) {
    Piece& piece = *shares[i].piece;
    if (!piece.oversize || piece.rows.empty()) continue;
    Tenant& tenant = *tenants_.find(piece.tenant)->second;
    piece.order = {std::max(piece.order.at, now), ++tie};
    tenant.pieces.update(piece.order, piece);
    settle(tenant);
  }
  return taken;
}

// The turn of the tenant in front: it ends when the batch is full (then it goes on in the next
// batch), when the tenant has used it up, or when the tenant has nothing left.
void Queue::take_turn(Tenant& tenant, Taken& taken, std::vector<Share>& shares) {
  if (!tenant.in_turn) {
    tenant.in_turn = true;
    tenant.deficit += quantum();
  }
  bool used_up = false;
  while (!used_up && !taken.full) {
    Piece& piece = tenant.pieces.top();
    uint32_t count = 0;
    while (count < piece.rows.size()) {
      const Row& row = piece.rows[count];
      ++steps_;
      Weight with = taken.weight;
      with += weight_of(row);
      if (taken.weight.items > 0) taken.full = broken_limit(with, limits_);
      if (taken.full) break;
      if (cost(row) > tenant.deficit) {
        used_up = ring_.size() > 1;
        if (used_up) break;
        tenant.deficit += quantum();  // alone, its next turn is now
      }
      tenant.deficit -= cost(row);
      taken.weight = with;
      ++count;
    }
    if (count > 0) hand_out(tenant, piece, count, shares);
    if (tenant.pieces.empty()) return settle(tenant);
  }
  settle(tenant);
  if (used_up && !taken.full) {
    tenant.in_turn = false;
    ring_.splice(ring_.end(), ring_, tenants_.find(tenant.id)->second);
  }
}

void Queue::hand_out(Tenant& tenant, Piece& piece, uint32_t count, std::vector<Share>& shares) {
  shares.push_back({&piece, piece.first, count, count == piece.rows.size()});
  const Weight weight = weight_of(piece.rows.first(count));
  weight_ -= weight;
  piece.weight -= weight;
  piece.first += count;
  piece.rows = piece.rows.subspan(count);
  if (!piece.rows.empty()) return;
  tenant.pieces.remove(piece);
  if (leaves_.contains(piece)) leaves_.remove(piece);
}

// Brings the tenant's place among the heads up to date; a tenant without rows in line leaves the
// ring, and its deficit with it.
void Queue::settle(Tenant& tenant) {
  if (!tenant.pieces.empty()) return heads_.update(tenant.pieces.top_order(), tenant);
  if (heads_.contains(tenant)) heads_.remove(tenant);
  const auto found = tenants_.find(tenant.id);
  const auto in_ring = found->second;
  if (tenant.out > 0) {
    tenant.deficit = 0;
    tenant.in_turn = false;
    away_.splice(away_.end(), ring_, in_ring);
    return;
  }
  tenants_.erase(found);
  ring_.erase(in_ring);
}

void Queue::step_out(uint64_t tenant) {
  auto [found, is_new] = tenants_.try_emplace(tenant);
  if (is_new) found->second = away_.emplace(away_.end(), tenant, steps_);
  ++found->second->out;
}

void Queue::step_back(uint64_t tenant) {
  const auto found = tenants_.find(tenant);
  ASSERT(found != tenants_.end() && found->second->out > 0);
  Tenant& back = *found->second;
  if (--back.out > 0 || !back.pieces.empty()) return;
  away_.erase(found->second);
  tenants_.erase(found);
}

bool Queue::full() const {
  Weight more = weight_;
  more += Weight{1, 1, 1};
  return broken_limit(more, limits_).has_value();
}

}  // namespace sluice
