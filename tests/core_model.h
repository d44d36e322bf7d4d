// SPDX-License-Identifier: Apache-2.0
#pragma once
// CoreModel: a second, plain opinion on what a Core may do. It is told every event before a step
// and every action after it, keeps each row's state in the simplest way there is, and complains
// about whatever a Core must not do. It predicts all but these: which rows of a tenant leave with
// which others (it checks rules instead), which deadlines cannot be met, how long a pause is
// between its bounds, and when company is not expected any more.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "batcher/core.h"
#include "tests/core_model_failures.h"

namespace sluice {

class CoreModel : private CoreModelFailures {
 public:
  explicit CoreModel(const CoreOptions& options) : CoreModelFailures(options) {}

  // Before the step at `now`. REQUIRES: a request that brings a deadline after `now` is the last
  // event of its step
  void before(Instant now, const std::vector<Event>& events) {
    now_ = now;
    expected_.clear();
    ended_.clear();
    for (const Event& event : events) {
      std::visit([this](const auto& one) { on(one); }, event);
    }
    for (auto it = open_.begin(); it != open_.end();) {
      const RequestId id = it->first;
      const bool expires = it->second.deadline <= now_;
      ++it;
      if (expires) answer(id, Code::kTimeout);
    }
  }

  // After the step: `actions` are what it did, `core` is as it left it.
  void after(const std::vector<Action>& actions, const Core& core) {
    for (const Action& action : actions) {
      if (const auto* reply = std::get_if<Reply>(&action)) note_hopeless(*reply);
    }
    for (const Action& action : actions) {
      std::visit([this](const auto& one) { did(one); }, action);
    }
    for (const auto& [id, outcome] : expected_) complain("no reply for " + std::to_string(id));
    check_calls();
    check_work_conserving();
    check_sums(core);
  }

  // What was wrong so far; empty if nothing.
  const std::vector<std::string>& complaints() const { return complaints_; }
  // Calls that have not ended.
  std::vector<StartCall> running() const {
    std::vector<StartCall> calls;
    for (const auto& [id, call] : calls_) calls.push_back(call.start);
    return calls;
  }
  bool has_open(RequestId id) const { return open_.contains(id); }

 private:
  void on(const Arrived& event) {
    const Request& request = event.request;
    Open open{request, weight_of(request.rows), {}, {}};
    open.alone = health_.alone(request.tenant, now_);
    const auto& backends = options_.models[request.model].backends;
    if (const auto code = refusal(open)) {
      Expected& refused = expected_[request.id] = {.code = code};
      refused.may_be_hopeless = !draining_ && request.deadline.has_value();
      if (*code == Code::kUnavailable && !draining_) {
        refused.retry_after = health_.retry_after(backends, now_);
      }
      return;
    }
    const int64_t levels =
        std::clamp(request.priority, -options_.priority_max, options_.priority_max);
    open.order = {request.arrived - options_.priority_step * levels, ++arrivals_};
    open.deadline =
        request.deadline.value_or(request.arrived + options_.models[request.model].queue.deadline);
    open.oversize = broken_limit(open.weight, limits(open)).has_value();
    open.rows.resize(request.rows.size());
    open_.emplace(request.id, std::move(open));
  }

  // Which code admission must refuse `open` with, by plain sums over everything.
  std::optional<Code> refusal(const Open& open) const {
    const QueueLimits& queue = options_.models[open.request.model].queue;
    if (draining_) return Code::kUnavailable;
    if (open.request.deadline && *open.request.deadline <= now_) return Code::kTimeout;
    const auto& backends = options_.models[open.request.model].backends;
    if (health_.all_open(backends) && health_.probe_at(backends) > now_) return Code::kUnavailable;
    if (open.weight.bytes > options_.queued_bytes_max) return Code::kTooLarge;
    Weight of_model, of_tenant, all = in_flight();
    std::set<RoomName> keys;
    std::set<uint64_t> tenants;
    for (const auto& [id, other] : open_) {
      const Weight waits = waiting(other);
      all += waits;
      if (waits.items == 0) continue;
      keys.insert(room_of(other));
      if (other.request.model != open.request.model) continue;
      of_model += waits;
      if (other.request.tenant == open.request.tenant) of_tenant += waits;
      if (room_of(other) == room_of(open)) tenants.insert(other.request.tenant);
    }
    const auto crowded = [](uint64_t held, uint64_t more, uint64_t max) {
      return held > 0 && held + more > max;
    };
    const bool full =
        crowded(of_model.items, open.weight.items, queue.items_max) ||
        crowded(of_model.bytes, open.weight.bytes, queue.bytes_max) ||
        crowded(of_tenant.items, open.weight.items, queue.tenant_items_max) ||
        all.bytes + open.weight.bytes > options_.queued_bytes_max ||
        (!keys.contains(room_of(open)) && keys.size() >= options_.keys_max) ||
        (!tenants.contains(open.request.tenant) && tenants.size() >= options_.tenants_max);
    if (full) return Code::kOverloaded;
    return std::nullopt;
  }

  void on(const Cancelled& event) { open_.erase(event.request); }
  void on(const CallStarted&) {}
  void on(const CallEnding& event) {
    const auto found = calls_.find(event.call);
    if (found != calls_.end()) found->second.ending = true;
  }
  void on(const Warmth& event) {
    if (event.backend < warm_.size()) warm_[event.backend] = event.warm;
  }
  void on(const Draining&) { draining_ = true; }

  void on(const CallDone& event) {
    const auto found = calls_.find(event.call);
    if (found == calls_.end()) return;
    const StartCall call = found->second.start;
    const bool aborted = found->second.aborted || waiters(call) == 0;
    calls_.erase(found);
    ended_.insert(event.call);
    if (!event.outcomes.ok()) return failed(call, event.failure, event.outcomes.error(), aborted);
    if (event.outcomes.value().size() != call.rows.size()) {
      return failed(call, Failure::kWrongAnswer, Error{.code = Code::kUpstream, .message = {}},
                    aborted);
    }
    health_.good(call.backend);
    for (size_t i = 0; i < call.rows.size(); ++i) {
      const auto open = open_.find(call.rows[i].request);
      if (open == open_.end()) continue;
      Row& row = open->second.rows[call.rows[i].index];
      if (row.where != call.call) continue;
      row.where = kDone;
      row.outcome = text(event.outcomes.value()[i]);
      answer_if_done(open->first);
    }
  }

  void answer_if_done(RequestId id) {
    Expected expected;
    for (const Row& row : open_.at(id).rows) {
      if (row.where != kDone) return;
      expected.outcomes.push_back(row.outcome);
    }
    expected_[id] = std::move(expected);
    open_.erase(id);
  }

  // A deadline that the core says cannot be met: known only now.
  void note_hopeless(const Reply& reply) {
    const auto open = open_.find(reply.request);
    if (open == open_.end() || !open->second.request.deadline) return;
    if (!reply.outcomes.ok() && reply.outcomes.error().code == Code::kTimeout &&
        reply.timings.calls == 0 && open->second.order.tie == arrivals_) {
      answer(reply.request, Code::kTimeout);
    }
  }

  void did(const Reply& reply) {
    const auto found = expected_.find(reply.request);
    if (found == expected_.end()) return complain("reply to " + std::to_string(reply.request));
    const Expected expected = found->second;
    expected_.erase(found);
    if (reply.outcomes.ok() == expected.code.has_value()) return complain("reply of other kind");
    if (!reply.outcomes.ok()) {
      const Code code = reply.outcomes.error().code;
      const bool hopeless = expected.may_be_hopeless && code == Code::kTimeout;
      if (code != *expected.code && !hopeless)
        complain("error of other kind for " + std::to_string(reply.request) + ": " +
                 std::to_string(http_status(code)) + " for " +
                 std::to_string(http_status(*expected.code)));
      if (expected.retry_after && !hopeless &&
          reply.outcomes.error().retry_after != *expected.retry_after) {
        complain("another time to come back");
      }
      return;
    }
    std::vector<std::string> got;
    for (const Outcome& outcome : reply.outcomes.value()) got.push_back(text(outcome));
    if (got != expected.outcomes) complain("somebody else's answer");
  }

  void did(const AbortCall& abort) {
    const auto found = calls_.find(abort.call);
    if (ended_.contains(abort.call)) return;  // it was given up, then ended in the same step
    if (found == calls_.end()) return complain("abort of no call");
    if (found->second.aborted) complain("abort twice");
    if (waiters(found->second.start) > 0) complain("abort of a call somebody waits for");
    found->second.aborted = true;
  }

  void did(const Prewarm& prewarm) {
    if (warm_[prewarm.backend]) complain("prewarm of a warm backend");
  }

  void did(const StartCall& start) {
    const auto& backends = options_.models[start.model].backends;
    if (std::find(backends.begin(), backends.end(), start.backend) == backends.end()) {
      complain("call on a foreign backend");
    }
    if (!may_call(start.backend)) complain("call without a free slot or past a breaker");
    health_.begin(start.backend, start.call);
    if (start.rows.empty() || calls_.contains(start.call)) complain("call without rows or name");
    check_party(start);
    Weight weight;
    std::optional<RoomName> key;
    std::map<uint64_t, Order> youngest;  // the last in line that was taken, by tenant
    for (const CallRow& row : start.rows) {
      const auto found = open_.find(row.request);
      if (found == open_.end()) return complain("call for a request that is not open");
      Open& open = found->second;
      if (open.request.model != start.model) complain("models mixed");
      if (key.value_or(room_of(open)) != room_of(open)) complain("keys or offenders mixed");
      key = room_of(open);
      Row& state = open.rows.at(row.index);
      if (state.where != kWaiting) complain("a row in two calls");
      if (row.payload.data() != open.request.rows[row.index].payload.data()) {
        complain("another row's payload");
      }
      if (state.pause_min > now_) complain("a row that should pause");
      state.where = start.call;
      state.pause_min = state.pause_max = {};
      state.split_from = 0;
      if (++state.attempts > options_.attempts_max) complain("a row is sent too often");
      open.calls.insert(start.call);
      weight += weight_of(open.request.rows[row.index]);
      if (!open.oversize && start.reason != LeaveReason::kSplit) {
        Order& order = youngest.try_emplace(open.request.tenant, open.order).first->second;
        order = std::max(order, open.order);
      }
    }
    check_weight(start, weight);
    for (const auto& [id, open] : open_) {
      const auto taken = youngest.find(open.request.tenant);
      if (taken != youngest.end() && !open.oversize && room_of(open) == *key &&
          in_line(open).items > 0 && open.order < taken->second) {
        complain("request " + std::to_string(id) + " was overtaken");
      }
    }
    calls_.emplace(start.call, Running{start});
  }

  void check_weight(const StartCall& start, const Weight& weight) {
    if (weight.items != start.weight.items || weight.bytes != start.weight.bytes ||
        weight.tokens != start.weight.tokens) {
      complain("a call's weight is not that of its rows");
    }
    if (weight.items > 1 && broken_limit(weight, options_.models[start.model].batch)) {
      complain("a call breaks a limit");
    }
  }

  // A part of a failed call goes out with rows of that call only, and with half of its requests.
  void check_party(const StartCall& start) {
    std::set<CallId> from;
    for (const CallRow& row : start.rows) {
      const auto open = open_.find(row.request);
      if (open != open_.end()) from.insert(open->second.rows.at(row.index).split_from);
    }
    const bool is_part = start.reason == LeaveReason::kSplit;
    if (from.size() > 1) return complain("a part of a failed call mixed with others");
    if (from.empty() || is_part != (*from.begin() != 0)) return complain("a part by another name");
    if (!is_part) return;
    SplitCall& split = splits_.at(*from.begin());
    if (--split.halves < 0) complain("more than two halves");
    if (requests_in(start) > split.requests_max) complain("more than a half");
  }

  void check_calls() {
    for (const auto& [id, call] : calls_) {
      if (waiters(call.start) == 0 && !call.aborted) complain("a call nobody waits for goes on");
    }
  }

  // No key that may leave waits while one of its backends may be called.
  void check_work_conserving() {
    for (const ModelIndex model : models_that_may_leave()) {
      for (const BackendIndex backend : options_.models[model].backends) {
        if (may_call(backend)) complain("rows wait beside a free slot");
      }
    }
  }

  // The latest instant at which the core must be woken.
  Instant wake_max() const {
    Instant latest = kNever;
    for (const auto& [id, open] : open_) {
      latest = std::min(latest, open.deadline);
      // Beside a free slot, whatever has not gone out pauses for certain.
      const auto& backends = options_.models[open.request.model].backends;
      const bool idle = limits(open).wait_max == Duration{} &&
                        std::any_of(backends.begin(), backends.end(),
                                    [this](BackendIndex backend) { return may_call(backend); });
      for (const Row& row : open.rows) {
        if (idle && row.where == kWaiting && row.pause_max > now_) {
          latest = std::min(latest, row.pause_max);
        }
      }
    }
    for (const ModelIndex model : models_that_may_leave()) {
      for (const BackendIndex backend : options_.models[model].backends) {
        if (has_slot(backend)) latest = std::min(latest, health_.probe_at({backend}));
      }
    }
    return latest;
  }

  void check_sums(const Core& core) {
    Weight queued;
    for (const auto& [id, open] : open_) {
      queued += waiting(open);
    }
    const Weight flying = in_flight();
    const CoreStats& stats = core.stats();
    if (stats.queued.items != queued.items || stats.queued.bytes != queued.bytes ||
        stats.queued.tokens != queued.tokens) {
      complain("the sum of what waits is wrong");
    }
    if (stats.in_flight.items != flying.items || stats.in_flight.bytes != flying.bytes ||
        stats.calls_in_flight != calls_.size()) {
      complain("the sum of what is in flight is wrong");
    }
    if (stats.requests_open != open_.size()) complain("the number of open requests is wrong");
    if (core.idle() != (open_.empty() && calls_.empty())) complain("idle() is wrong");
    const auto wake = core.next_wake();
    if (wake.value_or(kNever) > wake_max()) complain("the wake-up comes too late");
    if (wake && *wake <= now_) complain("the wake-up lies in the past");
    if (wake && open_.empty()) complain("a wake-up for nothing");
    for (BackendIndex i = 0; i < options_.backends.size(); ++i) {
      const BackendStats& backend = stats.backends.at(i);
      if (backend.slots != health_.slots(i)) complain("another number of slots");
      if (backend.breaker != health_.state(i)) complain("another state of a breaker");
    }
  }
};

}  // namespace sluice
