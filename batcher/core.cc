// SPDX-License-Identifier: Apache-2.0
// Core, as decisions: what each event changes, who expires, what starts.
#include "batcher/core.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <unordered_set>
#include <variant>

#include "base/assert.h"
#include "batcher/core_state.h"

namespace sluice {

Core::Core(CoreOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Core::~Core() = default;

void Core::step(Instant now, std::span<Event> events, std::vector<Action>& actions) {
  State& state = *state_;
  ASSERT(now >= state.now || state.actions == nullptr);
  state.now = now;
  state.actions = &actions;

  for (Event& event : events) {
    std::visit([&state](auto& one) { state.on(one); }, event);
  }
  state.expire();
  state.dispatch();
  state.measure();
  std::move(state.replies.begin(), state.replies.end(), std::back_inserter(actions));
  state.replies.clear();
}

std::optional<Instant> Core::next_wake() const {
  std::optional<Instant> wake;
  const auto earlier = [&wake](Instant at) { wake = wake ? std::min(*wake, at) : at; };
  if (!state_->deadlines.empty()) earlier(state_->deadlines.top_order().at);
  for (const auto& model : state_->models) {
    if (const auto end = model->rooms.next_end()) earlier(*end);
    if (!model->rooms.has_ready()) continue;
    if (const auto probe = state_->slots.opens_at(model->options.backends, state_->now)) {
      earlier(*probe);
    }
  }
  return wake;
}

const CoreStats& Core::stats() const { return state_->stats; }

bool Core::idle() const { return state_->requests.empty() && state_->calls.empty(); }

// A request comes in: it waits under its key, or is refused at once.
void Core::State::on(Arrived& event) {
  Request& request = event.request;
  ASSERT(request.model < models.size() && !request.rows.empty());
  ASSERT(!requests.contains(request.id));
  ++stats.arrived;
  Model& model = *models[request.model];
  const Weight weight = weight_of(request.rows);
  if (std::optional<Refused> refused = refuse(situation(request, weight), weight, request.deadline,
                                              model.options.queue, options)) {
    return refuse_request(request, std::move(*refused));
  }

  Live& live = open(std::move(request), weight);
  Piece& piece = make_piece(live, 0, static_cast<uint32_t>(live.request.rows.size()), 0);
  if (live.alone) return model.rooms.arrive(room_key(live), piece, now);
  model.rooms.arrive(live.request.key, piece, now);
}

void Core::State::on(Cancelled& event) {
  const auto found = requests.find(event.request);
  if (found == requests.end()) return;  // answered while the news was on its way
  ++stats.cancelled;
  forget(*found->second);
}

void Core::State::on(CallStarted& event) {
  const auto found = calls.find(event.call);
  if (found == calls.end()) return;
  Call& call = *found->second;
  call.started = now;
  for (const Segment& segment : call.segments) {
    if (segment.live != nullptr && segment.live->first_call == call.id) {
      segment.live->first_started = now;
    }
  }
}

void Core::State::on(CallEnding& event) {
  const auto found = calls.find(event.call);
  if (found == calls.end() || found->second->lent) return;
  found->second->lent = slots.lend(found->second->backend);
}

// A call has ended: its slot is free, and each of its rows has an outcome, or what core_failures.cc
// makes of it.
void Core::State::on(CallDone& event) {
  const auto found = calls.find(event.call);
  if (found == calls.end()) return;
  const std::unique_ptr<Call> call = std::move(found->second);
  calls.erase(found);
  Model& model = *models[call->model];
  slots.release(call->backend, call->lent);
  stats.in_flight -= call->weight;
  const bool was_aborted = std::exchange(call->aborted, true);

  if (event.outcomes.ok() && event.outcomes.value().size() != call->weight.items) {
    event.failure = Failure::kWrongAnswer;
    event.outcomes =
        Error{.code = Code::kUpstream,
              .message = "The backend gave " + std::to_string(event.outcomes.value().size()) +
                         " results for " + std::to_string(call->weight.items) + " inputs."};
  }
  const bool ok = event.outcomes.ok();
  const bool probe_failed =
      note_health(*call, ok ? std::nullopt : std::optional(event.failure), was_aborted);
  if (!ok) {
    std::unordered_set<RequestId> probing;
    for (const Segment& segment : call->segments) {
      if (probe_failed && segment.live != nullptr) probing.insert(segment.live->request.id);
    }
    on_failure(*call, event.outcomes.error(), event.failure);
    if (probe_failed) give_up_waiting(call->backend, probing);
    return;
  }
  if (!was_aborted) {
    // A call that waited for the one before it says itself how long it ran.
    const bool says = model.options.learns_busy || (call->queues && event.busy > Duration{});
    const Duration took = says ? event.busy : now - call->started;
    model.service[call->backend_position].learn(now, model.units(call->weight), took);
  }
  size_t row = 0;
  for (size_t i = 0; i < call->segments.size(); ++i) {
    const Segment& segment = call->segments[i];
    if (Live* live = land(*call, i)) {
      live->timings.answered_by = call->backend;
      deliver(*live, segment, std::span(event.outcomes.value()).subspan(row, segment.count));
    }
    row += segment.count;
  }
}

void Core::State::on(Warmth& event) {
  if (event.backend < slots.size()) slots.set_warm(event.backend, event.warm);
}

void Core::State::on(Draining&) {
  draining = true;
  for (const auto& model : models) model->rooms.drain(now);
}

// 504 for everyone whose deadline has come, waiting or in flight.
void Core::State::expire() {
  while (!deadlines.empty() && deadlines.top_order().at <= now) {
    ++stats.expired;
    reply(deadlines.top(),
          Error{.code = Code::kTimeout, .message = "The deadline passed before the answer came."});
  }
}

// Gives every free slot the ready key whose head is oldest, until slots or keys run out. The models
// are few, being configured; what there may be many of is in heaps.
void Core::State::dispatch() {
  for (const auto& model : models) model->rooms.end_waits(now);
  for (;;) {
    std::optional<ModelIndex> next;
    BackendIndex backend = 0;
    for (ModelIndex i = 0; i < models.size(); ++i) {
      const Rooms& rooms = models[i]->rooms;
      if (!rooms.has_ready()) continue;
      if (next && models[*next]->rooms.head() <= rooms.head()) continue;
      const std::optional<BackendIndex> free =
          slots.choose(models[i]->options.backends, now, rooms.avoid());
      if (!free) continue;
      next = i;
      backend = *free;
    }
    if (!next) break;
    start_call(*models[*next], *next, backend);
  }
  for (const auto& model : models) {
    const bool wanted = std::exchange(model->wants_warm, false) || model->rooms.has_ready();
    if (!wanted) continue;
    if (const auto cold = slots.wake(model->options.backends))
      actions->emplace_back(Prewarm{*cold});
  }
}

void Core::State::start_call(Model& model, ModelIndex index, BackendIndex backend) {
  const bool queues = slots.occupy(backend, ++last_call, now);
  const auto& backends = model.options.backends;
  auto call = std::make_unique<Call>();
  call->id = last_call;
  call->queues = queues;
  call->model = index;
  call->backend = backend;
  call->backend_position =
      static_cast<size_t>(std::find(backends.begin(), backends.end(), backend) - backends.begin());
  call->started = now;

  shares.clear();
  const Departure departure = model.rooms.take(now, sequence, shares);
  call->weight = departure.weight;
  call->is_part = departure.reason == LeaveReason::kSplit;
  StartCall start;
  start.call = call->id;
  start.backend = backend;
  start.model = index;
  start.reason = departure.reason;
  start.weight = departure.weight;
  start.rows.reserve(departure.weight.items);
  call->segments.reserve(shares.size());
  for (const Share& share : shares) board(*call, share, start.rows);
  start.key = call->segments.front().live->request.key;

  ++stats.calls;
  stats.split_calls += call->is_part;
  ++stats.left[static_cast<size_t>(departure.reason)];
  stats.rows_sent += departure.weight.items;
  stats.in_flight += departure.weight;
  model.units_left += model.units(departure.weight);
  calls.emplace(call->id, std::move(call));
  actions->emplace_back(std::move(start));
}

void Core::State::measure() {
  stats.queued = {};
  for (const auto& model : models) {
    const Weight& waiting = model->rooms.weight();
    model->drain_rate.note(now, std::exchange(model->units_left, 0), waiting.items > 0);
    stats.queued += waiting;
  }
  stats.requests_open = requests.size();
  stats.calls_in_flight = slots.in_use();
  for (BackendIndex i = 0; i < slots.size(); ++i) {
    const Breaker& breaker = slots.breaker_of(i);
    stats.backends[i] = {slots.slots_of(i), breaker.state(), breaker.opens()};
  }
}

}  // namespace sluice
