// SPDX-License-Identifier: Apache-2.0
// What the core refuses, holds back, prefers and counts.
#include <doctest/doctest.h>

#include <vector>

#include "batcher/core.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

using Ids = std::vector<RequestId>;

TEST_CASE("a full queue refuses with the computed time to come back") {
  CoreOptions options = one_model();
  options.models[0].queue.items_max = 400;
  options.models[0].batch.items_max = 10;
  CoreHarness h(options);
  h.arrive(1, 400);
  StartCall running = h.calls.at(0);
  for (int i = 0; i < 5; ++i) {  // 10 items each 100 ms: 100 items per second
    h.now = h.now + milliseconds(100);
    h.finish(running);
    running = h.calls.at(0);
  }
  REQUIRE(h.core.stats().queued.items == 340);
  h.arrive(2, 61);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].request == 2);
  CHECK(h.replies[0].outcomes.error().code == Code::kOverloaded);
  CHECK(h.replies[0].outcomes.error().retry_after == seconds(4));
  CHECK(h.core.stats().rejected_full == 1);
  h.arrive(3, 60);
  CHECK(h.replies.empty());
}

TEST_CASE("the limit on bytes holds for what is in flight, too, and over all models") {
  CoreOptions options = one_model();
  options.queued_bytes_max = 100;
  options.models.push_back(options.models[0]);
  CoreHarness h(options);
  Request first = request_of(1, h.now);
  first.rows = rows_of(1, 60);
  h.arrive(std::move(first));
  const StartCall running = h.calls.at(0);
  for (RequestId id = 2; id <= 3; ++id) {
    Request request = request_of(id, h.now);
    request.model = 1;
    request.rows = rows_of(1, 41 - id / 3);
    h.arrive(std::move(request));
    CHECK(h.replies.size() == (id == 2 ? 1 : 0));
  }
  h.finish(running);
  CHECK(h.calls.size() == 1);
}

TEST_CASE("a deadline the model has never met is refused at once, but not for ever") {
  CoreHarness h(one_model());
  for (RequestId id = 1; id <= 8; ++id) {
    h.arrive(id);
    const StartCall call = h.calls.at(0);
    h.now = h.now + milliseconds(200);
    h.finish(call);
  }
  const auto try_deadline = [&h](RequestId id) {
    Request request = request_of(id, h.now);
    request.deadline = h.now + milliseconds(150);
    h.arrive(std::move(request));
  };
  try_deadline(20);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kTimeout);
  CHECK(h.core.stats().hopeless == 1);
  h.now = h.now + seconds(6);
  try_deadline(21);
  CHECK(h.replies.empty());
  CHECK(h.calls.size() == 1);
}

TEST_CASE("draining refuses what is new and finishes what waits") {
  CoreHarness h(one_model());
  h.arrive(1);
  const StartCall running = h.calls.at(0);
  h.arrive(2);
  h.step_one(Draining{});
  h.arrive(3);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kUnavailable);
  CHECK(h.core.stats().rejected_drain == 1);
  h.finish(running);
  h.finish(h.calls.at(0));
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].request == 2);
  CHECK(h.core.idle());
}

TEST_CASE("priority counts as age inside a tenant, within priority_max") {
  CoreOptions options = one_model();
  options.priority_step = milliseconds(100);
  options.priority_max = 5;
  options.models[0].batch.items_max = 1;
  CoreHarness h(options);
  h.arrive(1);
  StartCall running = h.calls.at(0);
  const auto arrive = [&h](RequestId id, int64_t age_ms, int32_t priority) {
    Request request = request_of(id, h.now - milliseconds(age_ms));
    request.priority = priority;
    h.arrive(std::move(request));
  };
  arrive(2, 450, 0);
  arrive(3, 0, 4);          // counts as 400
  arrive(4, 0, 1'000'000);  // counts as 500, however much it asks for
  arrive(5, 0, -1);
  Ids order;
  for (;;) {
    h.finish(running);
    if (h.calls.empty()) break;
    running = h.calls[0];
    order.push_back(members(running)[0]);
  }
  CHECK(order == Ids{4, 2, 3, 5});
}

TEST_CASE("work that only cold backends could do wakes the first of them once") {
  CoreOptions options = one_model();
  options.backends = {{"a", 1}, {"b", 1}};
  options.models[0].backends = {1, 0};
  CoreHarness h(options);
  h.step_one(Warmth{0, false});
  h.step_one(Warmth{1, false});
  CHECK(h.prewarms.empty());
  h.arrive(1);
  CHECK(h.calls.empty());
  CHECK(h.prewarms == std::vector<BackendIndex>{1});
  h.arrive(2);
  CHECK(h.prewarms.empty());
  h.step_one(Warmth{0, true});
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].backend == 0);
  CHECK(members(h.calls[0]) == Ids{1, 2});
}

TEST_CASE("a call counts as queued until it has really begun") {
  CoreHarness h(one_model());
  h.arrive(1);
  const StartCall call = h.calls.at(0);
  h.now = h.now + milliseconds(4);
  h.step_one(CallStarted{call.call});
  h.now = h.now + milliseconds(6);
  h.finish(call);
  CHECK(h.replies.at(0).timings.queued == milliseconds(4));
  CHECK(h.replies.at(0).timings.backend == milliseconds(6));
}

TEST_CASE("why batches left is counted") {
  CoreOptions options = one_model();
  options.models[0].batch.items_max = 2;
  CoreHarness h(options);
  h.arrive(1, 3);
  CHECK(h.calls.at(0).reason == LeaveReason::kItems);
  h.finish(h.calls[0]);
  CHECK(h.calls.at(0).reason == LeaveReason::kIdle);
  CHECK(h.core.stats().left[static_cast<size_t>(LeaveReason::kItems)] == 1);
  CHECK(h.core.stats().left[static_cast<size_t>(LeaveReason::kIdle)] == 1);
  CHECK(h.core.stats().calls == 2);
  CHECK(h.core.stats().rows_sent == 3);
}

}  // namespace
}  // namespace sluice
