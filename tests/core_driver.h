// SPDX-License-Identifier: Apache-2.0
#pragma once
// CoreDriver: makes up a configuration and a life for a Core out of choices, and holds it to a
// CoreModel after every step. The choices come from a generator or from a fuzzer's bytes.

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "batcher/core.h"
#include "tests/core_harness.h"
#include "tests/core_model.h"

namespace sluice {

// A number in [low, high].
using Choose = std::function<int64_t(int64_t low, int64_t high)>;

class CoreDriver {
 public:
  explicit CoreDriver(Choose choose)
      : choose_(std::move(choose)), options_(make_options()), core_(options_), model_(options_) {
    now_ = Instant{} + seconds(1000);
    good_ = chance(50) ? 70 : choose_(0, 60);
    if (chance(60)) usual_failure_ = static_cast<Failure>(choose_(0, kFailures - 1));
  }

  // One step of one to three events; false once something was wrong.
  bool step() {
    advance();
    std::vector<Event> events;
    bool may_arrive = true;
    for (int64_t left = choose_(1, 3); left > 0; --left) {
      // A request with a deadline of its own must be the last event: see CoreModel::before.
      if (!make_event(events, may_arrive && left == 1)) break;
    }
    return run(std::move(events));
  }

  // Warms everything, ends every call and finds nothing left; false if something was wrong.
  bool finish() {
    std::vector<Event> events;
    for (BackendIndex i = 0; i < options_.backends.size(); ++i)
      events.emplace_back(Warmth{i, true});
    if (chance(30)) events.emplace_back(Draining{});
    if (!run(std::move(events))) return false;
    for (int rounds = 0; !core_.idle(); ++rounds) {
      if (rounds > 100'000) return complain("it never ends");
      const auto calls = model_.running();
      if (calls.empty()) {
        now_ = core_.next_wake().value_or(now_);  // held, or nothing would ever happen
      } else {
        now_ = now_ + microseconds(choose_(0, 1000));
      }
      std::vector<Event> ends;
      for (const StartCall& call : calls) ends.emplace_back(end_of(call, 1000));
      if (!run(std::move(ends))) return false;
    }
    const CoreStats& stats = core_.stats();
    const uint64_t left = stats.arrived - stats.replied - stats.cancelled - stats.expired -
                          stats.hopeless - stats.rejected_full - stats.rejected_drain -
                          stats.rejected_open - stats.failed - stats.failed_open;
    if (left != 0) complain("the counters of what became of requests do not add up");
    if (core_.next_wake()) complain("an idle core wants to be woken");
    return complaints().empty();
  }

  std::vector<std::string> complaints() const {
    std::vector<std::string> all = model_.complaints();
    all.insert(all.end(), own_complaints_.begin(), own_complaints_.end());
    return all;
  }
  const CoreStats& stats() const { return core_.stats(); }

 private:
  bool chance(int64_t percent) { return choose_(1, 100) <= percent; }
  bool complain(const std::string& what) {
    own_complaints_.push_back(what);
    return false;
  }

  BackendOptions make_backend() {
    BackendOptions backend{"backend", static_cast<uint32_t>(choose_(1, 4))};
    backend.bisect_5xx = chance(30);
    backend.repeatable = chance(80);
    backend.late_binding = chance(30);
    if (chance(40)) backend.breaker = static_cast<uint32_t>(choose_(0, 1));
    backend.breaker_failures = static_cast<uint32_t>(choose_(0, 5));
    return backend;
  }

  CoreOptions make_options() {
    CoreOptions options;
    const int64_t backends = choose_(1, 3);
    for (int64_t i = 0; i < backends; ++i) {
      options.backends.push_back(make_backend());
    }
    for (int64_t left = choose_(1, 2); left > 0; --left) {
      ModelOptions model;
      model.batch.items_max = static_cast<uint64_t>(choose_(1, 8));
      model.batch.bytes_max = static_cast<uint64_t>(choose_(20, 200));
      model.batch.tokens_max = static_cast<uint64_t>(chance(50) ? choose_(10, 100) : 0);
      if (chance(30)) model.batch.wait_max = microseconds(choose_(1, 5000));
      model.queue.items_max = static_cast<uint64_t>(choose_(5, 60));
      model.queue.bytes_max = static_cast<uint64_t>(choose_(100, 1000));
      model.queue.tenant_items_max = static_cast<uint64_t>(choose_(5, 60));
      model.queue.deadline = milliseconds(chance(60) ? choose_(5, 200) : choose_(1000, 20'000));
      for (BackendIndex i = 0; i < options.backends.size(); ++i) {
        if (chance(60)) model.backends.emplace_back(i);
      }
      if (model.backends.empty()) model.backends.emplace_back(0);
      options.models.push_back(std::move(model));
    }
    options.queued_bytes_max = static_cast<uint64_t>(choose_(200, 2000));
    options.attempts_max = static_cast<uint32_t>(choose_(1, 4));
    options.retry_pause = microseconds(choose_(1, 5000));
    options.retry_pause_max = milliseconds(choose_(1, 20));
    options.priority_step = milliseconds(choose_(0, 3));
    options.keys_max = static_cast<size_t>(choose_(2, 6));
    options.tenants_max = static_cast<size_t>(choose_(1, 4));
    return options;
  }

  // Stands still, passes some time, or goes exactly to the next wake-up.
  void advance() {
    const auto wake = core_.next_wake();
    const int64_t how = choose_(0, 3);
    if (how == 0) return;
    if (how == 1 && wake) {
      now_ = std::max(now_, *wake);
    } else if (how == 3 && chance(4)) {
      now_ = now_ + milliseconds(choose_(0, 70'000));
    } else {
      now_ = now_ + microseconds(choose_(0, 2000));
      if (wake && how == 2) now_ = std::min(now_, *wake);
    }
  }

  // Appends an event; false if it must be the last.
  bool make_event(std::vector<Event>& events, bool may_have_deadline) {
    const int64_t kind = choose_(0, 19);
    const auto calls = model_.running();
    if (kind <= 9) {
      Request request = make_request();
      if (may_have_deadline && chance(25)) {
        request.deadline = now_ + microseconds(choose_(-10, 20'000));
      }
      events.emplace_back(Arrived{std::move(request)});
    } else if (kind <= 14 && !calls.empty()) {
      events.emplace_back(end_of(calls[pick(calls.size())], good_));
    } else if (kind == 15 && !calls.empty()) {
      const CallId call = calls[pick(calls.size())].call;
      if (chance(50)) {
        events.emplace_back(CallStarted{call});
      } else {
        events.emplace_back(CallEnding{chance(90) ? call : call + 1000});
      }
    } else if (kind == 16) {
      const auto backend = static_cast<BackendIndex>(choose_(0, 3));
      events.emplace_back(Warmth{backend, chance(60)});
    } else if (kind == 17 && chance(5)) {
      events.emplace_back(Draining{});
    } else {
      events.emplace_back(Cancelled{static_cast<RequestId>(
          choose_(std::max<int64_t>(0, static_cast<int64_t>(last_) - 20), last_plus(2)))});
    }
    return true;
  }
  size_t pick(size_t size) {
    return static_cast<size_t>(choose_(0, static_cast<int64_t>(size) - 1));
  }
  int64_t last_plus(int64_t more) const { return static_cast<int64_t>(last_) + more; }

  Request make_request() {
    Request request = request_of(++last_, now_ - microseconds(choose_(0, 500)));
    request.model = static_cast<ModelIndex>(pick(options_.models.size()));
    request.key = std::string(1, static_cast<char>('a' + choose_(0, 3)));
    request.tenant = static_cast<uint64_t>(choose_(0, 3));
    request.priority = static_cast<int32_t>(chance(70) ? 0 : choose_(-20, 20));
    if (chance(20)) request.wait_max = microseconds(choose_(0, 2000));
    request.rows.clear();
    for (int64_t left = chance(5) ? choose_(10, 30) : choose_(1, 4); left > 0; --left) {
      const auto bytes = static_cast<size_t>(choose_(0, 30));
      request.rows.push_back({.payload = Slice::copy_of(std::string(bytes, 'x')),
                              .tokens = static_cast<uint32_t>(choose_(0, 15))});
    }
    return request;
  }

  // `call` ends: well in `good` of 100 cases, else in one of the bad ways.
  Event end_of(const StartCall& call, int64_t good) {
    CallDone done{call.call, outcomes_for(call), Failure::kFinal, {}};
    if (choose_(1, 100) <= good) return done;
    std::vector<Outcome>& outcomes = done.outcomes.value();
    switch (choose_(0, 9)) {
      case 0:
        outcomes.pop_back();
        break;
      case 1:
        outcomes.push_back(Output{});
        break;
      case 2:
        outcomes[pick(outcomes.size())] = Error{.code = Code::kInvalid, .message = "odd row"};
        break;
      case 3:
        done.call += 1000;  // somebody else's news
        break;
      default:
        done.failure = usual_failure_ && chance(70)
                           ? *usual_failure_
                           : static_cast<Failure>(choose_(0, kFailures - 1));
        done.outcomes = make_error(done.failure);
    }
    return done;
  }

  Error make_error(Failure failure) {
    Error error{.code = Code::kUnavailable, .message = "broken"};
    if (failure == Failure::kRejected) error.code = Code::kInvalid;
    if (failure == Failure::kTooLarge) error.code = Code::kTooLarge;
    if (failure == Failure::kBroken && chance(50)) error.code = Code::kInternal;
    if (failure == Failure::kCut && chance(50)) error.code = Code::kTimeout;
    if (chance(20)) error.retry_after = microseconds(choose_(1, 300'000));
    return error;
  }

  bool run(std::vector<Event> events) {
    model_.before(now_, events);
    std::vector<Action> actions;
    core_.step(now_, events, actions);
    model_.after(actions, core_);
    return complaints().empty();
  }

  Choose choose_;
  const CoreOptions options_;
  Core core_;
  CoreModel model_;
  Instant now_;
  int64_t good_ = 70;                     // calls of 100 that end well
  std::optional<Failure> usual_failure_;  // of this life
  RequestId last_ = 0;
  std::vector<std::string> own_complaints_;
};

}  // namespace sluice
