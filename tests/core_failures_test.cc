// SPDX-License-Identifier: Apache-2.0
// What the core does with the rows of a failed call: again now, again later, or answered.
#include <doctest/doctest.h>

#include <vector>

#include "batcher/core.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

using Ids = std::vector<RequestId>;

// A model on one backend with many slots and attempts.
CoreOptions patient() {
  CoreOptions options = one_model();
  options.backends[0].slots = 4;
  options.backends[0].breaker_failures = 0;
  options.attempts_max = 4;
  return options;
}

const Error kBusyError{.code = Code::kUnavailable, .message = "busy"};

TEST_CASE("busy rows pause for 25 to 50 ms, then twice as long each time, and keep their age") {
  CoreHarness h(patient());
  h.arrive(1);
  for (const int64_t most : {50, 100, 200}) {
    const Instant failed = h.now;
    h.fail_as(h.calls.at(0), Failure::kBusy, kBusyError);
    CHECK(h.replies.empty());
    CHECK(h.calls.empty());
    CHECK(h.core.stats().queued.items == 1);
    CHECK(h.core.next_wake().value() >= failed + milliseconds(most / 2));
    h.wake();
    CHECK(h.now < failed + milliseconds(most));
    REQUIRE(h.calls.size() == 1);
    CHECK(members(h.calls[0]) == Ids{1});
  }
  h.fail_as(h.calls.at(0), Failure::kBusy, kBusyError);  // the fourth call was the last
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kUnavailable);
  CHECK(h.replies[0].outcomes.error().retry_after == seconds(1));
  CHECK(h.core.idle());
  CHECK(h.core.stats().retried_calls == 3);
  CHECK(h.core.stats().failures[static_cast<size_t>(Failure::kBusy)] == 4);
}

TEST_CASE("another seed gives other pauses, the same one the same") {
  const auto pause = [](uint64_t seed) {
    CoreOptions options = patient();
    options.seed = seed;
    CoreHarness h(options);
    h.arrive(1);
    h.fail_as(h.calls.at(0), Failure::kCut);
    return h.core.next_wake().value() - h.now;
  };
  CHECK(pause(1) == pause(1));
  CHECK(pause(1) != pause(2));
}

TEST_CASE("Retry-After is waited for, and not less") {
  CoreHarness h(patient());
  h.arrive(1);
  const Instant failed = h.now;
  h.fail_as(h.calls.at(0), Failure::kThrottled, {.message = {}, .retry_after = seconds(7)});
  CHECK(h.core.next_wake() == failed + seconds(7));
  h.now = failed + seconds(7) - nanoseconds(1);
  h.step();
  CHECK(h.calls.empty());
  h.wake();
  CHECK(h.calls.size() == 1);
}

TEST_CASE("a Retry-After beyond the deadline is handed on at once with 503") {
  for (const Failure failure : {Failure::kBusy, Failure::kThrottled, Failure::kBroken}) {
    CoreHarness h(patient());
    Request request = request_of(1, h.now);
    request.deadline = h.now + seconds(5);
    h.arrive(std::move(request));
    h.fail_as(h.calls.at(0), failure,
              {.code = Code::kUpstream, .message = {}, .retry_after = seconds(5)});
    REQUIRE(h.replies.size() == 1);
    CHECK(h.replies[0].outcomes.error().code == Code::kUnavailable);
    CHECK(h.replies[0].outcomes.error().retry_after == seconds(5));
    CHECK(h.core.idle());
  }
}

TEST_CASE("what pauses can be cancelled, expires at its deadline and is finished when draining") {
  CoreHarness h(patient());
  Request request = request_of(1, h.now);
  request.deadline = h.now + seconds(5);
  h.arrive(std::move(request));
  h.fail_as(h.calls.at(0), Failure::kBusy, {.message = {}, .retry_after = seconds(4)});
  SUBCASE("cancelled") {
    h.cancel(1);
    CHECK(h.core.idle());
    CHECK(h.core.stats().queued.items == 0);
    CHECK_FALSE(h.core.next_wake());
  }
  SUBCASE("expires") {
    h.now = h.now + seconds(6);
    h.step();
    REQUIRE(h.replies.size() == 1);
    CHECK(h.replies[0].outcomes.error().code == Code::kTimeout);
  }
  SUBCASE("draining") {
    h.step_one(Draining{});
    CHECK(h.calls.empty());
    CHECK_FALSE(h.core.idle());
    h.wake();
    h.finish(h.calls.at(0));
    CHECK(h.core.idle());
  }
}

TEST_CASE("what pauses counts against the limits of the queue") {
  CoreOptions options = patient();
  options.models[0].queue.items_max = 2;
  CoreHarness h(options);
  h.arrive(1, 2);
  h.fail_as(h.calls.at(0), Failure::kBusy);
  h.arrive(2);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kOverloaded);
}

TEST_CASE("what an unreachable backend was to do goes to another one at once") {
  CoreOptions options = patient();
  options.backends.push_back(options.backends[0]);
  options.models[0].backends = {0, 1};
  CoreHarness h(options);
  h.arrive(1);
  REQUIRE(h.calls.at(0).backend == 0);
  h.fail_as(h.calls[0], Failure::kUnreachable);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].backend == 1);
  h.step_one(Warmth{0, false});
  h.fail_as(call_named(2), Failure::kUnreachable);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].backend == 1);  // there is no other one
}

TEST_CASE("unreachable is tried attempts_max times, then 502") {
  CoreHarness h(patient());
  h.arrive(1);
  for (int i = 0; i < 3; ++i) {
    h.fail_as(h.calls.at(0), Failure::kUnreachable);
    CHECK(h.replies.empty());
  }
  h.fail_as(h.calls.at(0), Failure::kUnreachable);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kUpstream);
}

TEST_CASE("a call that broke is not made again where that is not harmless") {
  CoreOptions options = patient();
  options.backends[0].repeatable = false;
  for (const Failure failure : {Failure::kBroken, Failure::kCut}) {
    CoreHarness h(options);
    h.arrive(1);
    h.fail_as(h.calls.at(0), failure);
    CHECK(h.replies.size() == 1);
  }
  CoreHarness h(options);
  h.arrive(1);
  h.fail_as(h.calls.at(0), Failure::kUnreachable);  // it has not begun
  CHECK(h.calls.size() == 1);
}

TEST_CASE("retries stay below a tenth of the calls, but for a burst") {
  CoreOptions options = patient();
  options.models[0].batch.items_max = 1;
  CoreHarness h(options);
  uint64_t answered = 0;
  for (RequestId id = 1; id <= 1000; ++id) {
    h.arrive(id);
    h.fail_as(h.calls.at(0), Failure::kBroken);
    while (!h.calls.empty()) h.fail_as(h.calls[0], Failure::kBroken);
    answered += h.replies.size();
  }
  const CoreStats& stats = h.core.stats();
  CHECK(answered == 1000);
  CHECK(stats.calls == 1000 + stats.retried_calls);
  CHECK(stats.retried_calls <= 3 + stats.calls / 10);
  CHECK(stats.retried_calls >= stats.calls / 10 - 1);
  CHECK(stats.budget_refused > 800);
}

TEST_CASE("denied, wrong and final answers reach every member of the call at once") {
  for (const Failure failure : {Failure::kDenied, Failure::kWrongAnswer, Failure::kFinal}) {
    CoreHarness h(patient());
    std::vector<Event> events;
    for (RequestId id = 1; id <= 3; ++id) events.emplace_back(Arrived{request_of(id, h.now)});
    h.step(std::move(events));
    h.fail_as(h.calls.at(0), failure,
              {.code = Code::kUnauthorized, .message = {}, .upstream_status = 401});
    REQUIRE(h.replies.size() == 3);
    const Error& error = h.replies[0].outcomes.error();
    CHECK(error.code == (failure == Failure::kWrongAnswer ? Code::kUpstream : Code::kUnauthorized));
    CHECK(error.upstream_status == (failure == Failure::kWrongAnswer ? 0 : 401));
    CHECK(h.core.idle());
  }
}

TEST_CASE("429 leaves a backend half of its slots, and successes give them back") {
  CoreOptions options = patient();
  options.models[0].batch.items_max = 1;
  options.attempts_max = 1;
  CoreHarness h(options);
  h.arrive(1, 4);
  const std::vector<StartCall> calls = h.calls;
  REQUIRE(calls.size() == 4);
  h.fail_as(calls[0], Failure::kThrottled);
  for (size_t i = 1; i < 4; ++i) h.finish(calls[i]);
  CHECK(h.core.stats().backends.at(0).slots == 3);  // two, and one for two good ones
  h.arrive(2, 4);
  CHECK(h.calls.size() == 3);
}

TEST_CASE("a model of single requests starts each in the step that brings it, however many run") {
  CoreOptions options = one_model();
  options.models[0].batch.items_max = 1;
  options.models[0].batch.wait_max = milliseconds(5);
  options.backends[0].slots = 100'000;
  CoreHarness h(options);
  const auto steps_for = [&h](RequestId first, RequestId last) {
    const uint64_t before = h.core.stats().steps;
    for (RequestId id = first; id <= last; ++id) {
      h.arrive(id);
      REQUIRE(h.calls.size() == 1);
    }
    return static_cast<double>(h.core.stats().steps - before) /
           static_cast<double>(last - first + 1);
  };
  const double few = steps_for(1, 100);
  steps_for(101, 20'000);
  CHECK(steps_for(20'001, 20'100) < few + 20);
}

}  // namespace
}  // namespace sluice
