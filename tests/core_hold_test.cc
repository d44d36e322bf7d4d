// SPDX-License-Identifier: Apache-2.0
// Waiting for company: how long, for whom, and what it saves.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "base/prng.h"
#include "batcher/arrivals.h"
#include "batcher/core.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

using Ids = std::vector<RequestId>;

constexpr RequestId kBefore = 1000;  // ids of requests that came before the test's own

// A model that holds for 10 ms, on a key that had a request every millisecond until now.
struct BusyKey : CoreHarness {
  explicit BusyKey(CoreOptions options = holding()) : CoreHarness(std::move(options)) {
    for (RequestId id = kBefore; id < kBefore + 40; ++id) {
      arrive(id);
      for (const StartCall& call : calls) running.push_back(call);
      for (const StartCall& call : std::exchange(running, {})) finish(call);
      now = now + milliseconds(1);
    }
    while (!core.idle()) {
      wake();
      for (const StartCall& call : std::vector<StartCall>(calls)) finish(call);
    }
    now = start = now + milliseconds(1);
  }
  static CoreOptions holding() {
    CoreOptions options = one_model();
    options.models[0].batch.wait_max = milliseconds(10);
    options.models[0].batch.items_max = 3;
    options.backends[0].slots = 8;
    return options;
  }
  std::vector<StartCall> running;
  Instant start;
};

TEST_CASE("a batch on a busy key is held until it is full, due, out of slack or draining") {
  BusyKey h;
  // The pause since the last one was too long to expect much; two more, and the key is busy again.
  h.arrive(8);
  h.now = h.now + milliseconds(1);
  if (!h.calls.empty()) h.finish(h.calls[0]);
  h.arrive(1);
  const Instant start = h.now;
  if (h.core.stats().queued.items == 2) {
    h.cancel(8);
  }
  REQUIRE(h.calls.empty());
  SUBCASE("due: no companion can be expected in the little that is left") {
    h.now = start + milliseconds(4);
    h.arrive(2);
    const Instant due = h.core.next_wake().value();
    CHECK(due < start + milliseconds(10));
    CHECK(due > start + milliseconds(9));
    h.now = due - nanoseconds(1);
    h.step();
    CHECK(h.calls.empty());
    h.now = due;
    h.step();
    REQUIRE(h.calls.size() == 1);
    CHECK(members(h.calls[0]) == Ids{1, 2});
    CHECK(h.calls[0].reason == LeaveReason::kHeld);
  }
  SUBCASE("full") {
    h.arrive(2, 3);
    REQUIRE(h.calls.size() == 1);
    CHECK(members(h.calls[0]) == Ids{1, 2, 2});
    CHECK(h.calls[0].reason == LeaveReason::kItems);
    CHECK(h.core.stats().queued.items == 1);  // what is left is held again
  }
  SUBCASE("out of slack") {
    Request hurried = request_of(2, h.now);
    hurried.deadline = start + milliseconds(6);
    h.arrive(std::move(hurried));
    CHECK(h.core.next_wake().value() <= start + milliseconds(6));
  }
  SUBCASE("draining") {
    h.step_one(Draining{});
    REQUIRE(h.calls.size() == 1);
    CHECK(h.calls[0].reason == LeaveReason::kDrain);
  }
  SUBCASE("cancelled: nothing is left to wait for") {
    h.cancel(1);
    CHECK_FALSE(h.core.next_wake());
    CHECK(h.core.idle());
  }
  SUBCASE("a request may ask for less") {
    Request hurried = request_of(2, h.now);
    hurried.wait_max = milliseconds(3);
    h.arrive(std::move(hurried));
    CHECK(h.core.next_wake().value() <= start + milliseconds(3));
    CHECK(h.core.next_wake().value() > start + milliseconds(2));
  }
  SUBCASE("a request may ask for no wait at all, and takes along who waits") {
    Request hurried = request_of(2, h.now);
    hurried.wait_max = Duration{};
    h.arrive(std::move(hurried));
    REQUIRE(h.calls.size() == 1);
    CHECK(members(h.calls[0]) == Ids{1, 2});
  }
  SUBCASE("a request cannot ask for more") {
    h.cancel(1);
    Request patient = request_of(2, h.now);
    patient.wait_max = seconds(1);
    h.arrive(std::move(patient));
    if (h.calls.empty()) CHECK(h.core.next_wake().value() <= h.now + milliseconds(10));
  }
}

TEST_CASE("a hold that ended while no slot was free asks for no more wake-ups") {
  CoreOptions options = BusyKey::holding();
  options.models[0].queue.deadline = seconds(60);
  options.models[0].batch.items_max = 1;
  options.backends[0].slots = 1;
  CoreHarness h(options);
  const Instant start = h.now;
  h.arrive(1);
  REQUIRE(h.calls.size() == 1);  // one item is a full batch
  h.now = start + milliseconds(1);
  h.arrive(2);
  CHECK(h.core.next_wake() == start + seconds(60));
}

TEST_CASE("a lone request is never delayed: neither the first nor one of a quiet key") {
  CoreOptions options = BusyKey::holding();
  options.models[0].batch.items_max = 64;
  CoreHarness h(options);
  for (RequestId id = 1; id <= 20; ++id) {
    h.arrive(id);
    REQUIRE(h.calls.size() == 1);
    CHECK(h.calls[0].reason == LeaveReason::kQuiet);
    h.finish(h.calls[0]);
    h.now = h.now + milliseconds(250 + 100 * static_cast<int64_t>(id % 3));
  }
}

TEST_CASE("a key that was busy and fell quiet does not delay the next one") {
  BusyKey h;
  h.now = h.now + seconds(1);
  h.arrive(1);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].reason == LeaveReason::kQuiet);
}

TEST_CASE("who waits for company that has stopped coming does not wait to the end") {
  CoreOptions options = BusyKey::holding();
  options.models[0].batch.wait_max = seconds(1);
  options.models[0].batch.items_max = 1000;
  options.models[0].queue.items_max = 1000;
  CoreHarness h(options);
  for (RequestId id = 1; id <= 60; ++id) {
    h.arrive(id);
    h.now = h.now + milliseconds(1);
  }
  REQUIRE(h.core.stats().queued.items > 0);
  const Instant silent_since = h.now;
  h.wake();
  CHECK(h.now <= silent_since + milliseconds(10));
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].reason == LeaveReason::kHeld);
}

// Calls made for `arrivals` Poisson arrivals at `rate` of one row each; each call takes `service`.
uint64_t calls_for(const CoreOptions& options, double rate, int arrivals, Duration service,
                   uint64_t seed) {
  Core core(options);
  Prng prng(seed);
  std::multimap<Instant, StartCall> running;
  std::vector<Action> actions;
  Instant next = Instant{} + seconds(1);
  for (RequestId last = 0; last < static_cast<RequestId>(arrivals) || !core.idle();) {
    const Instant ends = running.empty() ? kNever : running.begin()->first;
    const Instant now = std::min({next, ends, core.next_wake().value_or(kNever)});
    std::vector<Event> events;
    if (now == ends) {
      const StartCall& call = running.begin()->second;
      events.emplace_back(CallDone{call.call, outcomes_for(call), Failure::kFinal, {}});
      running.erase(running.begin());
    } else if (now == next) {
      events.emplace_back(Arrived{request_of(++last, now)});
      next = last == static_cast<RequestId>(arrivals)
                 ? kNever
                 : now + from_seconds(-std::log(1 - prng.unit()) / rate);
    }
    actions.clear();
    core.step(now, events, actions);
    for (Action& action : actions) {
      if (auto* call = std::get_if<StartCall>(&action)) running.emplace(now + service, *call);
    }
  }
  return core.stats().calls;
}

CoreOptions wide(Duration wait_max, uint32_t slots) {
  CoreOptions options = one_model();
  options.models[0].batch.wait_max = wait_max;
  options.models[0].batch.items_max = 100'000;
  options.models[0].queue.items_max = options.models[0].queue.tenant_items_max = 100'000;
  options.backends[0].slots = slots;
  return options;
}

TEST_CASE("with a hold of w, calls fall as 1 / (1 + rate * w), within 5 %") {
  struct Case {
    double rate;
    int64_t wait_ms;
  };
  for (const Case& one : {Case{10, 150}, Case{10, 500}, Case{100, 20}, Case{100, 100},
                          Case{1000, 2}, Case{1000, 10}}) {
    constexpr int kArrivals = 30'000;
    const uint64_t calls =
        calls_for(wide(milliseconds(one.wait_ms), 1000), one.rate, kArrivals, microseconds(1), 5);
    const double part = static_cast<double>(calls) / kArrivals;
    const double expected = 1 / (1 + one.rate * static_cast<double>(one.wait_ms) / 1000);
    INFO(one.rate, "/s, ", one.wait_ms, " ms: ", part, " calls per request, expected ", expected);
    CHECK(part == doctest::Approx(expected).epsilon(0.05));
  }
}

TEST_CASE("at a low rate a hold costs nothing and saves nothing") {
  CHECK(calls_for(wide(milliseconds(10), 1000), 1, 2000, microseconds(1), 5) > 1950);
}

TEST_CASE("without a hold, slots alone close batches: their mean size is rate * time / slots") {
  for (const uint32_t slots : {1u, 2u, 4u, 8u}) {
    constexpr int kArrivals = 40'000;
    const uint64_t calls = calls_for(wide({}, slots), 1000, kArrivals, milliseconds(100), 9);
    const double mean = static_cast<double>(kArrivals) / static_cast<double>(calls);
    INFO(slots, " slots: ", mean);
    CHECK(mean == doctest::Approx(100.0 / slots).epsilon(0.05));
  }
}

TEST_CASE("the gap to expect is the mean one, or the last one if that was longer") {
  Arrivals arrivals(4);
  Instant now = Instant{} + seconds(5);
  CHECK_FALSE(arrivals.note("a", now));
  for (int i = 0; i < 50; ++i) {
    now = now + milliseconds(10);
    CHECK(arrivals.note("a", now)->seconds() == doctest::Approx(0.01));
  }
  now = now + seconds(3600);
  CHECK(*arrivals.note("a", now) == seconds(3600));
  now = now + milliseconds(10);
  CHECK(arrivals.note("a", now)->seconds() < 0.025);  // one night is not the rule
}

TEST_CASE("as many keys are remembered as configured, the ones seen last") {
  Arrivals arrivals(2);
  const Instant now = Instant{} + seconds(5);
  arrivals.note("a", now);
  arrivals.note("b", now);
  CHECK(arrivals.note("a", now));
  arrivals.note("c", now);
  CHECK(arrivals.size() == 2);
  CHECK(arrivals.note("a", now));
  CHECK_FALSE(arrivals.note("b", now));
}

}  // namespace
}  // namespace sluice
