// SPDX-License-Identifier: Apache-2.0
// Core, when calls fail: who waits again and when, who goes out by himself, who is answered. What
// depends on the kind of failure is in failures.h.
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "batcher/core_state.h"

namespace sluice {
namespace {

// Rows of one request in a call that is split.
struct Part {
  Live* live = nullptr;
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t attempts = 0;
};

// What a call may be cut between.
struct Unit {
  uint64_t cost = 0;
  uint32_t rows = 0;
};

uint64_t bytes_of(const Part& part) {
  return weight_of(std::span(part.live->request.rows).subspan(part.first, part.count)).bytes;
}

// One per request, or per row of the only request there is. REQUIRES: parts of a request stand
// together
std::vector<Unit> units_of(const std::vector<Part>& parts, Split how) {
  std::vector<Unit> units;
  const Live* live = nullptr;
  for (const Part& part : parts) {
    if (part.live != live) units.emplace_back();
    live = part.live;
    units.back().cost = how == Split::kRequests ? 1 : units.back().cost + bytes_of(part);
    units.back().rows += part.count;
  }
  if (how == Split::kRequests || units.size() > 1) return units;
  units.clear();
  for (const Part& part : parts) {
    for (uint32_t i = 0; i < part.count; ++i) {
      units.push_back({weight_of(part.live->request.rows[part.first + i]).bytes, 1});
    }
  }
  return units;
}

// The rows of the first half: as many units as cost up to half of all, at least one and not all.
// REQUIRES: two units
uint32_t rows_of_first_half(const std::vector<Unit>& units) {
  const uint64_t all =
      std::accumulate(units.begin(), units.end(), uint64_t{0},
                      [](uint64_t sum, const Unit& unit) { return sum + unit.cost; });
  uint32_t rows = units.front().rows;
  uint64_t cost = units.front().cost;
  for (size_t i = 1; i + 1 < units.size() && 2 * (cost + units[i].cost) <= all; ++i) {
    rows += units[i].rows;
    cost += units[i].cost;
  }
  return rows;
}

// Cuts `parts` after `rows` rows; gives the second half.
std::vector<Part> cut(std::vector<Part>& parts, uint32_t rows) {
  size_t whole = 0;
  while (whole < parts.size() && parts[whole].count <= rows) rows -= parts[whole++].count;
  std::vector<Part> rest(parts.begin() + static_cast<std::ptrdiff_t>(whole), parts.end());
  parts.resize(whole);
  if (rows > 0) {
    Part first = rest.front();
    first.count = rows;
    parts.push_back(first);
    rest.front().first += rows;
    rest.front().count -= rows;
  }
  return rest;
}

}  // namespace

bool Core::State::note_health(const Call& call, std::optional<Failure> failure, bool was_aborted) {
  Breaker& breaker = slots.breaker_of(call.backend);
  if (!failure) {
    breaker.good();
    slots.grow(call.backend);
    return false;
  }
  ++stats.failures[static_cast<size_t>(*failure)];
  const FailurePolicy policy = policy_of(*failure, options.backends[call.backend]);
  if (policy.shrinks) slots.shrink(call.backend, call.id);
  if (was_aborted || policy.is_silent) {
    breaker.silent(call.id, now);
    return false;
  }
  if (policy.counts) return breaker.bad(call.id, now);
  breaker.good();
  return false;
}

void Core::State::on_failure(Call& call, const Error& error, Failure failure) {
  const BackendOptions& backend = options.backends[call.backend];
  FailurePolicy policy = policy_of(failure, backend);
  const bool can_split =
      call.requests > 1 || (policy.split == Split::kBytes && call.weight.items > 1);
  if (policy.split != Split::kNone && can_split) return split(call, policy.split);
  if (policy.split == Split::kRequests) {
    const Live* culprit = call.segments.front().live;
    if (culprit != nullptr && (call.is_part || culprit->alone)) {
      offenders.found_guilty(culprit->request.tenant, now);
    }
    if (call.is_part) {
      policy.retry = Retry::kNo;
      policy.as_it_came = true;
    }
  }
  if (policy.needs_repeatable && !backend.repeatable) policy.retry = Retry::kNo;

  const auto wants = [&](const Segment& segment) {
    return segment.live != nullptr && pause_of(segment, policy, error).has_value();
  };
  const bool wanted = std::any_of(call.segments.begin(), call.segments.end(), wants);
  const bool granted = wanted && (!policy.needs_budget || slots.spend_retry(call.backend));
  stats.retried_calls += granted;
  stats.budget_refused += wanted && !granted;
  const double unit = granted ? prng.unit() : 0;
  for (size_t i = 0; i < call.segments.size(); ++i) {
    const std::optional<Duration> pause = granted && wants(call.segments[i])
                                              ? pause_of(call.segments[i], policy, error)
                                              : std::nullopt;
    Live* live = land(call, i);
    if (live == nullptr) continue;
    if (pause) {
      wait_again(*live, call.segments[i], call.backend, *pause, error.retry_after, unit);
      continue;
    }
    Error answer = client_error(policy, error);
    if (policy.retry != Retry::kNo && error.retry_after > Duration{} &&
        now + error.retry_after >= live->deadline) {
      answer.code = Code::kUnavailable;  // there was time left, but not for what was asked for
      answer.retry_after = error.retry_after;
    }
    fail(*live, std::move(answer));
  }
}

std::optional<Duration> Core::State::pause_of(const Segment& segment, const FailurePolicy& policy,
                                              const Error& error) const {
  if (policy.retry == Retry::kNo || segment.attempts >= options.attempts_max) {
    return std::nullopt;
  }
  Duration pause = error.retry_after;
  if (policy.retry == Retry::kBackoff) {
    pause =
        std::max(pause, backoff(options.retry_pause, options.retry_pause_max, segment.attempts));
  }
  if (pause > Duration{} && now + pause >= segment.live->deadline) return std::nullopt;
  return pause;
}

void Core::State::wait_again(Live& live, const Segment& segment, BackendIndex failed_on,
                             Duration pause, Duration pause_min, double unit) {
  stats.retried_rows += segment.count;
  Piece& piece = make_piece(live, segment.first, segment.count, segment.attempts);
  piece.avoid = failed_on;
  Rooms& rooms = models[live.request.model]->rooms;
  if (pause <= Duration{}) return rooms.push(room_key(live), piece, now);
  rooms.pause(room_key(live), piece, now + std::max(jittered(pause, unit), pause_min));
}

// The halves keep the age and the deadline of their rows, and this call does not count for them: it
// says nothing about those that are not at fault. Who has left may have been it, so that even one
// who remains goes out again.
void Core::State::split(Call& call, Split how) {
  ++stats.splits;
  const bool all_there = call.waiters == call.segments.size();
  std::vector<Part> parts;
  for (size_t i = 0; i < call.segments.size(); ++i) {
    const Segment segment = call.segments[i];
    if (Live* live = land(call, i)) {
      parts.push_back({live, segment.first, segment.count, segment.attempts - 1});
    }
  }
  if (parts.empty()) return;
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    const uint64_t a_tie = a.live->order.tie;
    const uint64_t b_tie = b.live->order.tie;
    return a_tie != b_tie ? a_tie < b_tie : a.first < b.first;
  });
  const std::vector<Unit> units = units_of(parts, how);
  const bool one_request = parts.front().live == parts.back().live;
  const bool whole = units.size() < 2 || (one_request && !all_there);
  std::vector<Part> rest;
  if (!whole) rest = cut(parts, rows_of_first_half(units));
  for (const std::vector<Part>* half : {&parts, &rest}) {
    if (half->empty()) continue;
    std::vector<Piece*> pieces;
    for (const Part& part : *half) {
      pieces.push_back(&make_piece(*part.live, part.first, part.count, part.attempts));
    }
    models[call.model]->rooms.send_alone(room_key(*half->front().live), std::move(pieces));
  }
}

// A look at all requests, as rare as probes are.
void Core::State::give_up_waiting(BackendIndex backend,
                                  const std::unordered_set<RequestId>& probing) {
  const auto hopeless = [&](const Model& model) {
    const auto& backends = model.options.backends;
    return slots.all_open(backends) &&
           std::any_of(backends.begin(), backends.end(),
                       [&](BackendIndex other) { return slots.same_breaker(other, backend); });
  };
  std::vector<Live*> waiting;
  for (const auto& [id, live] : requests) {
    if (live->pieces.empty() || probing.contains(id)) continue;
    if (hopeless(*models[live->request.model])) waiting.push_back(live.get());
  }
  std::sort(waiting.begin(), waiting.end(),
            [](const Live* a, const Live* b) { return a->order.tie < b->order.tie; });
  for (Live* live : waiting) {
    const auto& backends = models[live->request.model]->options.backends;
    const auto wait = slots.next_probe(backends, now).value_or(seconds(1));
    ++stats.failed_open;
    reply(*live, Error{.code = Code::kUnavailable,
                       .message = "What runs this model does not answer.",
                       .retry_after = whole_seconds(wait)});
  }
}

}  // namespace sluice
