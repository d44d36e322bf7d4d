// SPDX-License-Identifier: Apache-2.0
#pragma once
// CoreModel: a second, plain opinion on what a Core may do. It is told every event before a step
// and every action after it, keeps each row's state in the simplest way there is, and complains
// about whatever a Core must not do. It predicts all but two things: which rows of a tenant leave
// with which others (it checks rules instead), and which deadlines cannot be met.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "batcher/core.h"
#include "batcher/queue.h"

namespace sluice {

class CoreModel {
 public:
  explicit CoreModel(const CoreOptions& options)
      : options_(options), warm_(options.backends.size(), true) {}

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
  static constexpr CallId kWaiting = 0;
  static constexpr CallId kDone = UINT64_MAX;
  struct Row {
    CallId where = kWaiting;
    uint32_t attempts = 0;
    std::string outcome;  // what it must be answered with; "!" and a message for an error
  };
  struct Open {
    Request request;
    Weight weight;
    Order order;
    Instant deadline;
    bool oversize = false;
    std::vector<Row> rows;
  };
  struct Running {
    StartCall start;
    bool aborted = false;
  };
  // What a request must be answered with: an error's code, or the outcomes of its rows.
  struct Expected {
    std::optional<Code> code;
    std::vector<std::string> outcomes;
    bool may_be_hopeless = false;  // or it is told that its deadline cannot be met
  };

  void complain(const std::string& what) { complaints_.push_back(what); }
  const BatchLimits& limits(const Open& open) const {
    return options_.models[open.request.model].batch;
  }
  uint64_t attempts_max() const { return options_.attempts_max; }

  static std::string text(const Outcome& outcome) {
    return outcome.ok() ? std::string(outcome.value().bytes.view()) : "!" + outcome.error().message;
  }

  void on(const Arrived& event) {
    const Request& request = event.request;
    Open open{request, weight_of(request.rows), {}, {}, false, {}};
    if (const auto code = refusal(open)) {
      expected_[request.id] = {
          code, {}, *code != Code::kUnavailable && request.deadline.has_value()};
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
    if (open.weight.bytes > options_.queued_bytes_max) return Code::kTooLarge;
    Weight of_model, of_tenant, all = in_flight();
    std::set<std::pair<ModelIndex, std::string>> keys;
    std::set<uint64_t> tenants;
    for (const auto& [id, other] : open_) {
      const Weight waits = waiting(other);
      all += waits;
      if (waits.items == 0) continue;
      keys.insert({other.request.model, other.request.key});
      if (other.request.model != open.request.model) continue;
      of_model += waits;
      if (other.request.tenant == open.request.tenant) of_tenant += waits;
      if (other.request.key == open.request.key) tenants.insert(other.request.tenant);
    }
    const auto crowded = [](uint64_t held, uint64_t more, uint64_t max) {
      return held > 0 && held + more > max;
    };
    const bool full =
        crowded(of_model.items, open.weight.items, queue.items_max) ||
        crowded(of_model.bytes, open.weight.bytes, queue.bytes_max) ||
        crowded(of_tenant.items, open.weight.items, queue.tenant_items_max) ||
        all.bytes + open.weight.bytes > options_.queued_bytes_max ||
        (!keys.contains({open.request.model, open.request.key}) &&
         keys.size() >= options_.keys_max) ||
        (!tenants.contains(open.request.tenant) && tenants.size() >= options_.tenants_max);
    if (full) return Code::kOverloaded;
    return std::nullopt;
  }

  void on(const Cancelled& event) { open_.erase(event.request); }
  void on(const CallStarted&) {}
  void on(const Warmth& event) {
    if (event.backend < warm_.size()) warm_[event.backend] = event.warm;
  }
  void on(const Draining&) { draining_ = true; }

  void on(const CallDone& event) {
    const auto found = calls_.find(event.call);
    if (found == calls_.end()) return;
    const StartCall call = found->second.start;
    calls_.erase(found);
    ended_.insert(event.call);
    const bool miscounted =
        event.outcomes.ok() && event.outcomes.value().size() != call.rows.size();
    for (size_t i = 0; i < call.rows.size(); ++i) {
      const auto open = open_.find(call.rows[i].request);
      if (open == open_.end()) continue;
      Row& row = open->second.rows[call.rows[i].index];
      if (row.where != call.call) continue;
      if (event.outcomes.ok() && !miscounted) {
        row.where = kDone;
        row.outcome = text(event.outcomes.value()[i]);
        answer_if_done(open->first);
      } else if (!miscounted && event.failure == Failure::kBroken &&
                 row.attempts < attempts_max()) {
        row.where = kWaiting;
      } else {
        answer(open->first, miscounted ? Code::kUpstream : event.outcomes.error().code);
      }
    }
  }

  void answer(RequestId id, Code code) {
    expected_[id] = {code, {}, false};
    open_.erase(id);
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
      if (code != *expected.code && !hopeless) complain("error of other kind");
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
    if (!has_free_slot(start.backend)) complain("call without a free slot");
    if (start.rows.empty() || calls_.contains(start.call)) complain("call without rows or name");
    Weight weight;
    std::optional<std::string> key;
    std::map<uint64_t, Order> youngest;  // the last in line that was taken, by tenant
    for (const CallRow& row : start.rows) {
      const auto found = open_.find(row.request);
      if (found == open_.end()) return complain("call for a request that is not open");
      Open& open = found->second;
      if (open.request.model != start.model) complain("models mixed");
      if (key.value_or(open.request.key) != open.request.key) complain("keys mixed");
      key = open.request.key;
      Row& state = open.rows.at(row.index);
      if (state.where != kWaiting) complain("a row in two calls");
      if (row.payload.data() != open.request.rows[row.index].payload.data()) {
        complain("another row's payload");
      }
      state.where = start.call;
      ++state.attempts;
      weight += weight_of(open.request.rows[row.index]);
      if (!open.oversize) {
        Order& order = youngest.try_emplace(open.request.tenant, open.order).first->second;
        order = std::max(order, open.order);
      }
    }
    check_weight(start, weight);
    for (const auto& [id, open] : open_) {
      const auto taken = youngest.find(open.request.tenant);
      if (taken != youngest.end() && !open.oversize && open.request.model == start.model &&
          open.request.key == *key && waiting(open).items > 0 && open.order < taken->second) {
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

  static Weight waiting(const Open& open) {
    Weight weight;
    for (size_t i = 0; i < open.rows.size(); ++i) {
      if (open.rows[i].where == kWaiting) weight += weight_of(open.request.rows[i]);
    }
    return weight;
  }
  Weight in_flight() const {
    Weight weight;
    for (const auto& [id, call] : calls_) weight += call.start.weight;
    return weight;
  }
  bool has_free_slot(BackendIndex backend) const {
    uint32_t used = 0;
    for (const auto& [id, call] : calls_) used += call.start.backend == backend;
    return warm_[backend] && used < options_.backends[backend].slots;
  }
  size_t waiters(const StartCall& start) const {
    size_t count = 0;
    for (const CallRow& row : start.rows) {
      const auto open = open_.find(row.request);
      if (open != open_.end()) count += open->second.rows[row.index].where == start.call;
    }
    return count;
  }

  void check_calls() {
    for (const auto& [id, call] : calls_) {
      if (waiters(call.start) == 0 && !call.aborted) complain("a call nobody waits for goes on");
    }
  }

  // No key that may leave waits while one of its backends has a slot free.
  void check_work_conserving() {
    std::map<std::pair<ModelIndex, std::string>, std::pair<Weight, Instant>> keys;
    for (const auto& [id, open] : open_) {
      const Weight waits = waiting(open);
      if (waits.items == 0) continue;
      auto& [weight, oldest] =
          keys.try_emplace({open.request.model, open.request.key}, Weight{}, kNever).first->second;
      weight += waits;
      oldest = std::min(oldest, open.request.arrived);
    }
    for (const auto& [key, state] : keys) {
      const ModelOptions& model = options_.models[key.first];
      const bool held = !draining_ && now_ < state.second + model.batch.wait_max &&
                        !broken_limit(state.first, model.batch);
      for (const BackendIndex backend : model.backends) {
        if (!held && has_free_slot(backend)) complain("rows wait beside a free slot");
      }
    }
  }

  void check_sums(const Core& core) {
    Weight queued;
    Instant earliest = kNever;
    for (const auto& [id, open] : open_) {
      queued += waiting(open);
      earliest = std::min(earliest, open.deadline);
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
    if (wake.value_or(kNever) > earliest) complain("the wake-up misses a deadline");
    if (wake && *wake <= now_) complain("the wake-up lies in the past");
    if (wake && open_.empty()) complain("a wake-up for nothing");
  }

  const CoreOptions options_;
  std::vector<bool> warm_;
  bool draining_ = false;
  Instant now_;
  uint64_t arrivals_ = 0;
  std::map<RequestId, Open> open_;
  std::map<CallId, Running> calls_;
  std::map<RequestId, Expected> expected_;  // replies that this step must give
  std::set<CallId> ended_;                  // calls that ended in this step
  std::vector<std::string> complaints_;
};

}  // namespace sluice
