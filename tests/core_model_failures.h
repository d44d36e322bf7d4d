// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a CoreModel expects of failed calls. The table of kinds is failures.h's own, which has a
// test of each line; what follows from a line is told a second time here.

#include <algorithm>
#include <set>
#include <vector>

#include "tests/core_model_state.h"

namespace sluice {

class CoreModelFailures : protected CoreModelState {
 protected:
  using CoreModelState::CoreModelState;

  void failed(const StartCall& call, Failure failure, const Error& error, bool aborted) {
    const BackendOptions& backend = options_.backends[call.backend];
    const FailurePolicy policy = policy_of(failure, backend);
    if (policy.shrinks) health_.throttled(call.backend, call.call);
    bool probe_failed = false;
    if (aborted || policy.is_silent) {
      health_.silent(call.backend, call.call, now_);
    } else if (policy.counts) {
      probe_failed = health_.bad(call.backend, call.call, now_);
    } else {
      health_.alive(call.backend);
    }
    const bool many = requests_in(call) > 1;
    if ((policy.split != Split::kNone && many) ||
        (policy.split == Split::kBytes && call.rows.size() > 1)) {
      return split(call, policy.split);
    }
    fail_rows(call, policy, error);
    if (probe_failed) give_up_waiting(call);
  }

  // Its rows go out in halves, as if this call had not been.
  void split(const StartCall& call, Split how) {
    std::set<RequestId> left;
    for (const CallRow& place : call.rows) {
      const auto open = open_.find(place.request);
      if (open == open_.end()) continue;
      Row& row = open->second.rows[place.index];
      if (row.where != call.call) continue;
      left.insert(place.request);
      row.where = kWaiting;
      row.split_from = call.call;
      --row.attempts;
    }
    // Halves by bytes may be uneven in requests, but none is the whole.
    const size_t half = left.size() - (how == Split::kRequests ? left.size() / 2 : 1);
    splits_[call.call] = {.requests_max = std::max<size_t>(1, half)};
  }

  void fail_rows(const StartCall& call, const FailurePolicy& policy, const Error& error) {
    const bool is_part = call.reason == LeaveReason::kSplit;
    const bool at_fault = policy.split == Split::kRequests;
    const auto first = open_.find(call.rows.front().request);
    if (at_fault && first != open_.end() && (is_part || first->second.alone)) {
      health_.guilty(first->second.request.tenant, now_);
    }
    const bool may = policy.retry != Retry::kNo && !(at_fault && is_part) &&
                     (!policy.needs_repeatable || options_.backends[call.backend].repeatable);
    std::set<RequestId> wait, fail;
    for (const CallRow& place : call.rows) {
      const auto open = open_.find(place.request);
      if (open == open_.end()) continue;
      const Row& row = open->second.rows[place.index];
      if (row.where != call.call) continue;
      const Duration pause = pause_max(row, policy, error);
      const bool in_time = pause == Duration{} || now_ + pause < open->second.deadline;
      const bool again = may && row.attempts < options_.attempts_max && in_time;
      (again ? wait : fail).insert(place.request);
    }
    if (!wait.empty() && policy.needs_budget && !health_.spend(call.backend)) {
      fail.insert(wait.begin(), wait.end());
    }
    for (const RequestId id : fail) {
      const Open& open = open_.at(id);
      const bool too_late =
          may && error.retry_after > Duration{} && now_ + error.retry_after >= open.deadline;
      Error answered = at_fault && is_part ? error : client_error(policy, error);
      if (too_late)
        answered = {.code = Code::kUnavailable, .message = {}, .retry_after = error.retry_after};
      answer(id, answered.code, answered.retry_after);
    }
    for (const CallRow& place : call.rows) {
      const auto open = open_.find(place.request);
      if (open == open_.end()) continue;
      Row& row = open->second.rows[place.index];
      if (row.where != call.call) continue;
      row.where = kWaiting;
      const Duration pause = pause_max(row, policy, error);
      row.pause_max = now_ + pause;
      row.pause_min = std::max(now_ + nanoseconds(pause.ns / 2 - (pause.ns > 0 ? 1 : 0)),
                               now_ + error.retry_after);
    }
  }

  // The longest that `row` pauses, by doubling once per call it was in.
  Duration pause_max(const Row& row, const FailurePolicy& policy, const Error& error) const {
    if (policy.retry != Retry::kBackoff) return error.retry_after;
    Duration pause = std::min(options_.retry_pause, options_.retry_pause_max);
    for (uint32_t i = 1; i < row.attempts; ++i)
      pause = std::min(pause * 2, options_.retry_pause_max);
    return std::max(pause, error.retry_after);
  }

  void give_up_waiting(const StartCall& probe) {
    std::vector<RequestId> given_up;
    for (const auto& [id, open] : open_) {
      const auto& backends = options_.models[open.request.model].backends;
      const bool concerned = std::any_of(
          backends.begin(), backends.end(),
          [&](BackendIndex backend) { return health_.share_breaker(backend, probe.backend); });
      if (concerned && health_.all_open(backends) && waiting(open).items > 0 &&
          !open.calls.contains(probe.call)) {
        given_up.push_back(id);
      }
    }
    for (const RequestId id : given_up) {
      const auto& backends = options_.models[open_.at(id).request.model].backends;
      answer(id, Code::kUnavailable, health_.retry_after(backends, now_));
    }
  }
};

}  // namespace sluice
