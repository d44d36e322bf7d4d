// SPDX-License-Identifier: Apache-2.0
// Backends that do not answer: who is told what, and how service comes back.
#include <doctest/doctest.h>

#include <vector>

#include "batcher/core.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

CoreOptions one_attempt() {
  CoreOptions options = one_model();
  options.attempts_max = 1;
  options.models[0].batch.items_max = 1;
  return options;
}

// A core whose backend 0 has failed five times in a row just now.
struct Down : CoreHarness {
  explicit Down(CoreOptions options = one_attempt()) : CoreHarness(std::move(options)) {
    for (RequestId id = 1001; core.stats().backends.at(0).breaker == BreakerState::kClosed; ++id) {
      REQUIRE(id < 1010);
      arrive(id);
      fail_as(calls.at(0), Failure::kUnreachable);
    }
    opened = now;
  }
  const Error& error() const { return replies.at(0).outcomes.error(); }
  Instant opened;
};

TEST_CASE("an open breaker turns arrivals away at once with the time to the next probe") {
  Down h;
  CHECK(h.core.stats().failures[static_cast<size_t>(Failure::kUnreachable)] == 5);
  CHECK(h.core.stats().backends.at(0).breaker_opens == 1);
  h.now = h.now + milliseconds(10);
  h.arrive(1);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.calls.empty());
  CHECK(h.error().code == Code::kUnavailable);
  CHECK(h.error().retry_after == seconds(1));
  CHECK(h.core.stats().rejected_open == 1);
  CHECK(h.core.idle());
  CHECK_FALSE(h.core.next_wake());
}

TEST_CASE("who comes when a probe is due is the probe; the others are told to come back") {
  Down h;
  h.now = h.opened + seconds(1);
  h.arrive(1);
  REQUIRE(h.calls.size() == 1);
  const StartCall probe = h.calls[0];
  CHECK(h.core.stats().backends.at(0).breaker == BreakerState::kProbing);
  h.arrive(2);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.error().retry_after == seconds(1));
  SUBCASE("it goes well, and so does everything") {
    h.finish(probe);
    CHECK(h.core.stats().backends.at(0).breaker == BreakerState::kClosed);
    h.arrive(3);
    CHECK(h.calls.size() == 1);
  }
  SUBCASE("it fails, and the next one is later") {
    h.fail_as(probe, Failure::kUnreachable);
    h.arrive(3);
    CHECK(h.error().retry_after == seconds(2));
    h.now = h.now + milliseconds(500);
    h.arrive(4);
    CHECK(h.error().retry_after == seconds(2));  // rounded up
  }
  SUBCASE("its client leaves, and the next to come is the probe") {
    h.cancel(1);
    h.fail_as(probe, Failure::kCut);
    h.arrive(3);
    CHECK(h.calls.size() == 1);
  }
  SUBCASE("any answer shows the origin alive") {
    h.fail_as(probe, Failure::kRejected);
    CHECK(h.core.stats().backends.at(0).breaker == BreakerState::kClosed);
  }
}

TEST_CASE("service is back at most ten seconds after the upstream, however long it was down") {
  Down h;
  RequestId id = 0;
  const Instant back = h.opened + seconds(200);
  Instant good = kNever;
  for (; good == kNever; h.now = h.now + milliseconds(100)) {  // ten requests a second
    h.arrive(++id);
    if (h.calls.empty()) continue;
    const StartCall call = h.calls[0];
    if (h.now < back) {
      h.fail_as(call, Failure::kUnreachable);
    } else {
      h.finish(call);
      good = h.now;
    }
  }
  CHECK(good <= back + seconds(10));
  CHECK(h.core.stats().calls < 5 + 35);  // probes, not load
  h.arrive(++id);
  CHECK(h.calls.size() == 1);
}

TEST_CASE(
    "what waits stays until the probe; if that fails, it is answered too, but the probe's own") {
  CoreOptions options = one_attempt();
  options.attempts_max = 3;
  options.backends[0].slots = 5;
  CoreHarness h(options);
  std::vector<StartCall> calls;
  for (RequestId id = 1; id <= 5; ++id) {
    h.arrive(id);
    calls.push_back(h.calls.at(0));
  }
  for (RequestId id = 6; id <= 8; ++id) h.arrive(id);
  CHECK(h.core.stats().queued.items == 3);
  for (const StartCall& call : calls) {
    h.fail_as(call, Failure::kUnreachable);
    CHECK(h.replies.empty());
  }
  const Instant opened = h.now;
  // Four of them went out again before the fifth failure; let them fail as well.
  for (CallId call = 6; call <= 9; ++call) {
    h.fail_as(call_named(call), Failure::kUnreachable);
    CHECK(h.calls.empty());
  }
  CHECK(h.replies.empty());
  CHECK(h.core.next_wake() == opened + seconds(1));
  h.wake();
  REQUIRE(h.calls.size() == 1);  // one call as the probe
  const StartCall probe = h.calls[0];
  h.fail_as(probe, Failure::kUnreachable);
  for (const Reply& reply : h.replies) {
    CHECK(reply.outcomes.error().code ==
          (reply.request == probe.rows[0].request ? Code::kUpstream : Code::kUnavailable));
    if (reply.request != probe.rows[0].request) {
      CHECK(reply.outcomes.error().retry_after == seconds(2));
    }
  }
  CHECK(h.replies.size() >= 7);
  CHECK(h.core.stats().failed_open == 7);
}

TEST_CASE("rows of a failed probe are the next probe while they have attempts left") {
  CoreOptions options = one_attempt();
  options.attempts_max = 4;
  options.backends[0].breaker_failures = 1;
  CoreHarness h(options);
  h.arrive(1);
  Instant failed = h.now;
  for (const int64_t pause : {1, 2, 3}) {
    h.fail_as(h.calls.at(0), Failure::kUnreachable);
    CHECK(h.calls.empty());
    CHECK(h.core.next_wake() == failed + seconds(pause));
    h.wake();
    failed = h.now;
  }
  h.finish(h.calls.at(0));
  CHECK(h.replies.at(0).outcomes.ok());
  CHECK(h.core.idle());
}

TEST_CASE("while one backend is open, the others take everything") {
  CoreOptions options = one_attempt();
  options.backends.push_back({"other", 2});
  options.models[0].backends = {0, 1};
  options.backends[0].breaker_failures = 1;
  CoreHarness h(options);
  h.arrive(1);
  REQUIRE(h.calls.at(0).backend == 0);
  h.fail_as(h.calls[0], Failure::kCut);
  std::vector<BackendIndex> used;
  for (RequestId id = 2; id <= 4; ++id) {
    h.arrive(id);
    for (const StartCall& call : h.calls) used.push_back(call.backend);
    if (id < 4) CHECK(h.replies.empty());
  }
  CHECK(used == std::vector<BackendIndex>{1, 1});
  CHECK(h.core.stats().queued.items == 1);  // waits for a slot, is not turned away
  h.wake();
  CHECK(h.calls.at(0).backend == 0);  // or for the probe
}

TEST_CASE("backends of one origin share a breaker; others do not") {
  CoreOptions options = one_attempt();
  options.models.push_back(options.models[0]);
  options.models.push_back(options.models[0]);
  options.backends = {{"merged", 4}, {"passed", 100}, {"elsewhere", 4}};
  options.backends[0].breaker = options.backends[1].breaker = 7;
  for (ModelIndex i = 0; i < 3; ++i) options.models[i].backends = {i};
  Down h(options);
  const auto arrive = [&h](RequestId id, ModelIndex model) {
    Request request = request_of(id, h.now);
    request.model = model;
    h.arrive(std::move(request));
  };
  arrive(1, 1);
  CHECK(h.error().code == Code::kUnavailable);
  arrive(2, 2);
  CHECK(h.calls.size() == 1);
  h.now = h.opened + seconds(1);
  arrive(3, 1);
  REQUIRE(h.calls.size() == 1);
  arrive(4, 0);
  CHECK(h.calls.empty());  // one probe for both
}

TEST_CASE("draining with a breaker open ends") {
  CoreOptions options = one_attempt();
  options.attempts_max = 2;
  options.backends[0].breaker_failures = 1;
  CoreHarness h(options);
  h.arrive(1);
  h.arrive(2);
  h.step_one(CallDone{h.calls.empty() ? 1 : h.calls[0].call, Error{}, Failure::kUnreachable, {}});
  h.step_one(Draining{});
  h.wake();
  h.fail_as(h.calls.at(0), Failure::kUnreachable);
  CHECK(h.replies.size() == 2);
  CHECK(h.core.idle());
}

}  // namespace
}  // namespace sluice
