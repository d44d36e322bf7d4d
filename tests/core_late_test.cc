// SPDX-License-Identifier: Apache-2.0
// Late binding: the next batch is put together when the one that runs says that it is about to end,
// and waits at the backend, so that a device goes on without a pause.
#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>

#include "base/prng.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

CoreOptions late_model(uint32_t slots = 1) {
  CoreOptions options = one_model();
  options.backends[0].slots = slots;
  options.backends[0].late_binding = true;
  options.models[0].batch.items_max = 4;
  return options;
}

TEST_CASE("core late: a call that is about to end has its slot given away, once") {
  CoreHarness h(late_model());
  h.arrive(1);
  REQUIRE(h.calls.size() == 1);
  const StartCall first = h.calls[0];
  h.arrive(2);
  h.arrive(3);
  CHECK(h.calls.empty());
  h.step_one(CallEnding{first.call});
  REQUIRE(h.calls.size() == 1);
  const StartCall second = h.calls[0];
  CHECK(second.rows.size() == 2);
  h.arrive(4);
  CHECK(h.calls.empty());
  h.step_one(CallEnding{first.call});  // said again
  CHECK(h.calls.empty());
  h.finish(first);
  CHECK(h.replies.size() == 1);
  CHECK(h.calls.empty());  // the second runs now, in the only slot
  h.finish(second);
  CHECK(h.replies.size() == 2);
  REQUIRE(h.calls.size() == 1);
  h.finish(StartCall(h.calls[0]));
  CHECK(h.core.idle());
}

TEST_CASE("core late: who arrives after the news goes along at once") {
  CoreHarness h(late_model());
  h.arrive(1);
  const StartCall first = h.calls[0];
  h.step_one(CallEnding{first.call});
  CHECK(h.calls.empty());
  h.arrive(2);
  CHECK(h.calls.size() == 1);
}

TEST_CASE(
    "core late: without the news, and for a backend that does not bind late, all is as ever") {
  CoreHarness h(late_model());
  h.arrive(1);
  const StartCall first = h.calls[0];
  h.arrive(2);
  h.finish(first);
  CHECK(h.calls.size() == 1);

  CoreHarness plain(one_model());
  plain.arrive(1);
  const StartCall only = plain.calls[0];
  plain.arrive(2);
  plain.step_one(CallEnding{only.call});
  CHECK(plain.calls.empty());
  plain.finish(only);
  CHECK(plain.calls.size() == 1);
}

TEST_CASE("core late: news of a call that has ended, or of none, lends nothing") {
  CoreHarness h(late_model());
  h.arrive(1);
  const StartCall first = h.calls[0];
  h.finish(first);
  h.step_one(CallEnding{first.call});
  h.step_one(CallEnding{99});
  h.arrive(2);
  CHECK(h.calls.size() == 1);
  h.arrive(3);
  CHECK(h.calls.empty());
}

TEST_CASE("core late: calls that all claim to end get no more than twice the slots") {
  CoreHarness h(late_model(2));
  std::vector<StartCall> running;
  for (RequestId id = 1; id <= 12; ++id) {
    h.arrive(id);
    for (const StartCall& call : h.calls) running.push_back(call);
  }
  CHECK(running.size() == 2);
  for (size_t i = 0; i < running.size(); ++i) {
    h.step_one(CallEnding{running[i].call});
    for (const StartCall& call : h.calls) running.push_back(call);
    REQUIRE(running.size() <= 4);
  }
  CHECK(running.size() == 4);
}

TEST_CASE("core late: a failure of the first leaves the second where it is") {
  CoreHarness h(late_model());
  h.arrive(1);
  const StartCall first = h.calls[0];
  h.arrive(2);
  h.step_one(CallEnding{first.call});
  REQUIRE(h.calls.size() == 1);
  const StartCall second = h.calls[0];
  h.step_one(CallDone{
      first.call, Error{.code = Code::kInternal, .message = "broken"}, Failure::kBroken, {}});
  CHECK(h.replies.empty());
  CHECK(h.calls.empty());  // its row waits again: the slot is the second's
  h.finish(second);
  CHECK(h.replies.size() == 1);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].rows[0].request == 1);
}

TEST_CASE(
    "core late: a second call that nobody waits for is aborted and keeps its slot to its end") {
  CoreHarness h(late_model());
  h.arrive(1);
  const StartCall first = h.calls[0];
  h.arrive(2);
  h.step_one(CallEnding{first.call});
  const StartCall second = h.calls[0];
  h.cancel(2);
  CHECK(h.aborts == std::vector<CallId>{second.call});
  h.arrive(3);
  CHECK(h.calls.empty());
  h.finish(first);
  CHECK(h.calls.empty());
  h.finish(second);
  CHECK(h.calls.size() == 1);
}

TEST_CASE("core late: a free backend is preferred to one whose slot is about to be free") {
  CoreOptions options = late_model();
  options.backends.push_back({"other", 1});
  options.models[0].backends = {0, 1};
  CoreHarness h(options);
  h.arrive(1);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].backend == 0);
  h.step_one(CallEnding{h.calls[0].call});
  h.arrive(2);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].backend == 1);
  h.arrive(3);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].backend == 0);
}

TEST_CASE("core late: what a call waited for the one before it is not what such a call takes") {
  const auto deadline_met = [](bool says) {
    CoreHarness h(late_model());
    h.arrive(1);
    StartCall running = h.calls[0];
    // Each runs 10 ms and waits nearly as long behind the one before.
    for (RequestId id = 2; id < 60; ++id) {
      h.arrive(id);
      h.step_one(CallEnding{running.call});
      REQUIRE(h.calls.size() == 1);
      const StartCall next = h.calls[0];
      h.now = h.now + milliseconds(10);
      h.step_one(CallDone{running.call, outcomes_for(running), Failure::kFinal,
                          says ? milliseconds(10) : Duration{}});
      running = next;
    }
    h.now = h.now + milliseconds(10);
    h.step_one(CallDone{running.call, outcomes_for(running), Failure::kFinal,
                        says ? milliseconds(10) : Duration{}});
    Request request = request_of(100, h.now);
    request.deadline = h.now + milliseconds(15);
    h.arrive(std::move(request));
    return h.calls.size() == 1;
  };
  CHECK(deadline_met(true));
  CHECK_FALSE(deadline_met(false));
}

// What a device did that served arrivals at random, with the core as far away as mail takes.
struct Served {
  double batch_mean = 0;
  double latency_mean_us = 0;
  double idle = 0;  // part of the time in which the device had nothing to do though rows waited
};

// Batches take 200 us and 2 us for each row; a row comes every `every_us`; news and orders take
// 30 us. `lead_us` before the end of a batch the device says so; 0: it never does.
class Device {
 public:
  Device(int64_t every_us, int64_t lead_us)
      : every_us_(every_us), lead_us_(lead_us), core_(late_options()) {}

  Served serve(int64_t micros) {
    for (now_us_ = 0; now_us_ < micros; ++now_us_) tick();
    const auto rows = static_cast<double>(rows_);
    return {rows / static_cast<double>(batches_), latency_us_ / rows,
            static_cast<double>(idle_us_) / static_cast<double>(micros)};
  }

 private:
  static constexpr int64_t kMailUs = 30;
  static CoreOptions late_options() {
    CoreOptions options = late_model();
    options.models[0].batch.items_max = 256;
    return options;
  }
  Instant now() const { return core_.now + microseconds(now_us_); }

  void tick() {
    if (prng_.between(1, every_us_) == 1) {
      arrivals_us_[++last_] = now_us_;
      post(Arrived{request_of(last_, now())}, 0);
    }
    if (running_ && lead_us_ > 0 && now_us_ == std::max(end_us_ - lead_us_, begun_us_ + 1)) {
      post(CallEnding{running_->call}, kMailUs);
    }
    if (running_ && now_us_ == end_us_) end();
    while (!orders_.empty() && orders_.front().first <= now_us_) {
      waiting_.push_back(std::move(orders_.front().second));
      orders_.pop_front();
    }
    if (waiting_.size() + (running_ ? 1 : 0) > 2) FAIL("three batches at a device of one slot");
    if (!running_ && !waiting_.empty()) begin();
    std::vector<Event> events;
    while (!mail_.empty() && mail_.begin()->first <= now_us_) {
      events.push_back(std::move(mail_.begin()->second));
      mail_.erase(mail_.begin());
    }
    if (!events.empty()) step(std::move(events));
    idle_us_ += !running_ && core_.core.stats().requests_open > 0;
  }
  void post(Event event, int64_t wait_us) { mail_.emplace(now_us_ + wait_us, std::move(event)); }
  void step(std::vector<Event> events) {
    std::vector<Action> actions;
    core_.core.step(now(), events, actions);
    for (Action& action : actions) {
      if (auto* start = std::get_if<StartCall>(&action)) {
        orders_.emplace_back(now_us_ + kMailUs, std::move(*start));
      }
    }
  }
  void begin() {
    running_ = std::move(waiting_.front());
    waiting_.pop_front();
    begun_us_ = now_us_;
    end_us_ = now_us_ + 200 + 2 * static_cast<int64_t>(running_->rows.size());
    ++batches_;
  }
  void end() {
    for (const CallRow& row : running_->rows) {
      latency_us_ += static_cast<double>(now_us_ - arrivals_us_.at(row.request));
    }
    rows_ += static_cast<int64_t>(running_->rows.size());
    post(CallDone{running_->call, outcomes_for(*running_), Failure::kFinal, {}}, kMailUs);
    running_.reset();
  }

  const int64_t every_us_, lead_us_;
  CoreHarness core_;
  Prng prng_{7};
  int64_t now_us_ = 0;
  RequestId last_ = 0;
  std::map<RequestId, int64_t> arrivals_us_;
  std::multimap<int64_t, Event> mail_;
  std::deque<std::pair<int64_t, StartCall>> orders_;
  std::deque<StartCall> waiting_;
  std::optional<StartCall> running_;
  int64_t begun_us_ = 0, end_us_ = 0;
  int64_t batches_ = 0, rows_ = 0, idle_us_ = 0;
  double latency_us_ = 0;
};

TEST_CASE("core late: the device does not pause, and rows leave later than if bound at once") {
  for (const int64_t every_us : {4, 10, 40}) {
    CAPTURE(every_us);
    const Served never = Device(every_us, 0).serve(300'000);
    const Served late = Device(every_us, 80).serve(300'000);
    const Served early = Device(every_us, 100'000).serve(300'000);  // as soon as one has begun
    CHECK(never.idle > 0.1);
    CHECK(late.idle < 0.005);
    CHECK(late.latency_mean_us < 0.97 * never.latency_mean_us);
    CHECK(late.latency_mean_us < 0.8 * early.latency_mean_us);
    // A batch is what arrives from the end of one to that of the next: 260 us and what its rows
    // take, of which the pause was 60.
    CHECK(late.batch_mean >= 0.98 * 200 / 260 * never.batch_mean);
  }
}

TEST_CASE("core late: where rows pile up, batches are as full as without it") {
  const Served never = Device(2, 0).serve(100'000);
  const Served late = Device(2, 80).serve(100'000);
  CHECK(late.batch_mean >= never.batch_mean * 0.99);
  CHECK(late.latency_mean_us < never.latency_mean_us);
}

}  // namespace
}  // namespace sluice
