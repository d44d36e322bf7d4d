// SPDX-License-Identifier: Apache-2.0
// Core, as a bookkeeper: who waits where, who is in which call, and who is answered with what.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/assert.h"
#include "batcher/core_state.h"

namespace sluice {

namespace {

// The key of an offender's requests, which no other request has: no key holds a NUL.
std::string alone_key(const Request& request) {
  return request.key + '\0' + std::to_string(request.tenant);
}

}  // namespace

Situation Core::State::situation(const Request& request, const Weight& weight) const {
  const Model& model = *models[request.model];
  const bool alone = offenders.travels_alone(request.tenant, now);
  const Queue* queue = alone ? model.rooms.find(alone_key(request)) : model.rooms.find(request.key);
  Situation seen;
  seen.now = now;
  seen.draining = draining;
  if (slots.all_open(model.options.backends)) {
    // Without a probe to wait for, nobody knows; it may be over in a moment.
    const auto probe = slots.next_probe(model.options.backends, now).value_or(seconds(1));
    if (probe > Duration{}) seen.opens_in = probe;
  }
  seen.waiting = model.rooms.weight();
  seen.tenant_items = model.rooms.items_of(request.tenant);
  seen.held_bytes = stats.in_flight.bytes;
  for (const auto& each : models) {
    seen.keys += each->rooms.keys();
    seen.held_bytes += each->rooms.weight().bytes;
  }
  seen.key_waits = queue != nullptr;
  seen.tenants = queue == nullptr ? 0 : queue->tenants();
  seen.tenant_waits = queue != nullptr && queue->has_tenant(request.tenant);
  if (request.deadline) seen.p99 = model.p99(now, weight);
  seen.retry_after = retry_after(model.units(model.rooms.weight()), model.drain_rate.rate());
  return seen;
}

void Core::State::refuse_request(const Request& request, Refused refused) {
  switch (refused.why) {
    case Refusal::kFull:
      ++stats.rejected_full;
      break;
    case Refusal::kOpen:
      ++stats.rejected_open;
      break;
    case Refusal::kDraining:
      ++stats.rejected_drain;
      break;
    case Refusal::kHopeless:
      ++stats.hopeless;
      // The next one may be luckier, if a sleeping backend is woken for this one.
      models[request.model]->wants_warm = true;
      break;
  }
  replies.emplace_back(Reply{request.id, std::move(refused.error), {}});
}

Live& Core::State::open(Request request, const Weight& weight) {
  const Model& model = *models[request.model];
  auto live = std::make_unique<Live>();
  live->weight = weight;
  const int64_t levels = std::clamp(request.priority, -options.priority_max, options.priority_max);
  live->order = {request.arrived - options.priority_step * levels, ++sequence};
  live->deadline = request.deadline.value_or(request.arrived + model.options.queue.deadline);
  live->leave_by = kNever;
  if (model.options.batch.wait_max > Duration{}) {
    const Duration service = model.p99(now, weight).value_or(Duration{});
    const Duration wait_max = model.options.batch.wait_max;
    live->leave_by =
        std::min(request.arrived + std::min(request.wait_max.value_or(wait_max), wait_max),
                 live->deadline - service);
  }
  live->oversize = broken_limit(weight, model.options.batch).has_value();
  live->alone = offenders.travels_alone(request.tenant, now);
  live->rows_open = request.rows.size();
  live->request = std::move(request);
  deadlines.insert({live->deadline, live->order.tie}, *live);
  Live& opened = *live;
  requests.emplace(opened.request.id, std::move(live));
  return opened;
}

std::string Core::State::room_key(const Live& live) {
  return live.alone ? alone_key(live.request) : live.request.key;
}

Piece& Core::State::make_piece(Live& live, uint32_t first, uint32_t count, uint32_t attempts) {
  auto piece = std::make_unique<Piece>();
  piece->live = &live;
  piece->index = live.pieces.size();
  piece->tenant = live.request.tenant;
  piece->order = live.order;
  piece->leave_by = live.leave_by;
  piece->oversize = live.oversize;
  piece->attempts = attempts;
  piece->first = first;
  piece->rows = std::span(live.request.rows).subspan(first, count);
  piece->weight = weight_of(piece->rows);
  live.pieces.push_back(std::move(piece));
  return *live.pieces.back();
}

void Core::State::board(Call& call, const Share& share, std::vector<CallRow>& rows) {
  Piece& piece = *share.piece;
  Live& live = *piece.live;
  if (live.last_call != call.id) {
    live.last_call = call.id;
    ++call.requests;
    ++live.timings.calls;
    live.timings.batch_items =
        std::max(live.timings.batch_items, static_cast<uint32_t>(call.weight.items));
  }
  if (live.first_call == 0) {
    live.first_call = call.id;
    live.first_started = now;
  }
  live.flights.push_back({&call, call.segments.size()});
  call.segments.push_back({&live, share.first, share.count, piece.attempts + 1});
  ++call.waiters;
  for (uint32_t i = share.first; i < share.first + share.count; ++i) {
    const Row& row = live.request.rows[i];
    rows.push_back({live.request.id, i, row.payload, row.wire, row.flags});
  }
  if (!share.last) return;
  live.pieces.back()->index = piece.index;
  std::swap(live.pieces[piece.index], live.pieces.back());
  live.pieces.pop_back();
}

Live* Core::State::land(Call& call, size_t segment) {
  Live* live = std::exchange(call.segments[segment].live, nullptr);
  if (live == nullptr) return nullptr;
  --call.waiters;
  const auto flight =
      std::find_if(live->flights.begin(), live->flights.end(),
                   [&](const Flight& one) { return one.call == &call && one.segment == segment; });
  ASSERT(flight != live->flights.end());
  *flight = live->flights.back();
  live->flights.pop_back();
  return live;
}

void Core::State::deliver(Live& live, const Segment& segment, std::span<Outcome> outcomes) {
  if (live.outcomes.empty()) live.outcomes.resize(live.request.rows.size(), Outcome(Output{}));
  std::move(outcomes.begin(), outcomes.end(), live.outcomes.begin() + segment.first);
  live.rows_open -= segment.count;
  if (live.rows_open > 0) return;
  ++stats.replied;
  reply(live, std::move(live.outcomes));
}

void Core::State::fail(Live& live, Error error) {
  ++stats.failed;
  reply(live, std::move(error));
}

void Core::State::reply(Live& live, Result<std::vector<Outcome>> outcomes) {
  const bool was_called = live.first_call != 0;
  Timings& timings = live.timings;
  timings.queued = (was_called ? live.first_started : now) - live.request.arrived;
  if (was_called) timings.backend = now - live.first_started;
  replies.emplace_back(Reply{live.request.id, std::move(outcomes), timings});
  forget(live);
}

void Core::State::forget(Live& live) {
  for (const auto& piece : live.pieces) models[live.request.model]->rooms.remove(*piece, now);
  for (const Flight& flight : live.flights) {
    Call& call = *flight.call;
    call.segments[flight.segment].live = nullptr;
    if (--call.waiters > 0 || call.aborted) continue;
    call.aborted = true;
    actions->emplace_back(AbortCall{call.id});
  }
  deadlines.remove(live);
  requests.erase(requests.find(live.request.id));
}

}  // namespace sluice
