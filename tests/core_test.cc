// SPDX-License-Identifier: Apache-2.0
#include "batcher/core.h"

#include <doctest/doctest.h>

#include <vector>

#include "tests/core_harness.h"

namespace sluice {
namespace {

using Ids = std::vector<RequestId>;

// The text of outcome `index` of a reply that went well.
std::string text_of(const Reply& reply, size_t index) {
  return std::string(reply.outcomes.value().at(index).value().bytes.view());
}

TEST_CASE("a lone request leaves at once and gets its own answer") {
  CoreHarness h(one_model());
  h.arrive(7, 2);
  REQUIRE(h.calls.size() == 1);
  const StartCall call = h.calls[0];
  CHECK(members(call) == Ids{7, 7});
  CHECK(call.reason == LeaveReason::kIdle);
  CHECK(call.weight.items == 2);
  CHECK(h.core.stats().in_flight.bytes == 2);
  h.now = h.now + milliseconds(3);
  h.finish(call);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].request == 7);
  CHECK(text_of(h.replies[0], 0) == "7:0");
  CHECK(text_of(h.replies[0], 1) == "7:1");
  CHECK(h.replies[0].timings.queued == Duration{});
  CHECK(h.replies[0].timings.backend == milliseconds(3));
  CHECK(h.replies[0].timings.calls == 1);
  CHECK(h.replies[0].timings.batch_items == 2);
  CHECK(h.core.idle());
  CHECK_FALSE(h.core.next_wake());
}

TEST_CASE("requests that arrive in one step leave together, oldest first") {
  CoreHarness h(one_model());
  std::vector<Event> events;
  for (const RequestId id : Ids{3, 1, 2}) {
    events.emplace_back(Arrived{request_of(id, h.now - milliseconds(static_cast<int64_t>(id)))});
  }
  h.step(std::move(events));
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == Ids{3, 2, 1});
}

TEST_CASE("what arrives while the slot is busy leaves together when it is free") {
  CoreHarness h(one_model());
  h.arrive(1);
  const StartCall first = h.calls.at(0);
  for (RequestId id = 2; id <= 5; ++id) {
    h.arrive(id);
    CHECK(h.calls.empty());
  }
  CHECK(h.core.stats().queued.items == 4);
  h.finish(first);
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == Ids{2, 3, 4, 5});
}

TEST_CASE("models and keys never share a call; the key with the oldest head goes first") {
  CoreOptions options = one_model();
  options.models.push_back(options.models[0]);
  CoreHarness h(options);
  h.arrive(1);
  StartCall running = h.calls.at(0);
  const auto arrive = [&h](RequestId id, ModelIndex model, const char* key) {
    h.now = h.now + milliseconds(1);
    Request request = request_of(id, h.now);
    request.model = model;
    request.key = key;
    h.arrive(std::move(request));
  };
  arrive(2, 0, "b");
  arrive(3, 1, "a");
  arrive(4, 0, "a");
  arrive(5, 1, "a");
  arrive(6, 0, "b");
  std::vector<Ids> batches;
  while (!h.core.idle()) {
    h.finish(running);
    if (h.calls.empty()) break;
    running = h.calls[0];
    batches.push_back(members(running));
  }
  CHECK(batches == std::vector<Ids>{{2, 6}, {3, 5}, {4}});
}

TEST_CASE("slots of several backends are all used before anything waits") {
  CoreOptions options = one_model();
  options.backends = {{"a", 2}, {"b", 1}};
  options.models[0].backends = {0, 1};
  CoreHarness h(options);
  std::vector<BackendIndex> used;
  for (RequestId id = 1; id <= 3; ++id) {
    h.arrive(id);
    used.push_back(h.calls.at(0).backend);
  }
  CHECK(used == std::vector<BackendIndex>{0, 1, 0});
  h.arrive(4);
  CHECK(h.calls.empty());
  CHECK(h.core.stats().calls_in_flight == 3);
}

TEST_CASE("a request larger than a batch is split, and its answer joined in order") {
  CoreOptions options = one_model();
  options.models[0].batch.items_max = 4;
  options.backends[0].slots = 3;
  CoreHarness h(options);
  h.arrive(1, 10);
  REQUIRE(h.calls.size() == 3);
  const std::vector<StartCall> calls = h.calls;
  h.finish(calls[2]);
  CHECK(h.replies.empty());
  h.finish(calls[0]);
  CHECK(h.replies.empty());
  h.finish(calls[1]);
  REQUIRE(h.replies.size() == 1);
  for (size_t i = 0; i < 10; ++i) CHECK(text_of(h.replies[0], i) == "1:" + std::to_string(i));
  CHECK(h.replies[0].timings.calls == 3);
  CHECK(h.replies[0].timings.batch_items == 4);
}

TEST_CASE("the deadline is kept to the nanosecond, waiting or in flight") {
  CoreHarness h(one_model());
  Request first = request_of(1, h.now);
  first.deadline = h.now + milliseconds(10);
  h.arrive(std::move(first));
  const StartCall call = h.calls.at(0);
  Request second = request_of(2, h.now);
  second.deadline = h.now + milliseconds(5);
  h.arrive(std::move(second));
  const Instant start = h.now;

  CHECK(h.core.next_wake() == start + milliseconds(5));
  h.now = start + milliseconds(5) - nanoseconds(1);
  h.step();
  CHECK(h.replies.empty());
  h.now = start + milliseconds(5);
  h.step();
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].request == 2);
  CHECK(h.replies[0].outcomes.error().code == Code::kTimeout);

  CHECK(h.core.next_wake() == start + milliseconds(10));
  h.now = start + milliseconds(10);
  h.step();
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].request == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kTimeout);
  CHECK(h.aborts == std::vector<CallId>{call.call});
  CHECK_FALSE(h.core.idle());  // the call has not ended
  h.finish(call);
  CHECK(h.replies.empty());
  CHECK(h.core.idle());
  CHECK(h.core.stats().expired == 2);
}

TEST_CASE("a request without a deadline gets the model's") {
  CoreOptions options = one_model();
  options.models[0].queue.deadline = seconds(3);
  CoreHarness h(options);
  h.arrive(1);
  CHECK(h.core.next_wake() == h.now + seconds(3));
  h.now = h.now + seconds(3);
  h.step();
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kTimeout);
}

TEST_CASE("a client that left while waiting takes its rows along and gets no reply") {
  CoreHarness h(one_model());
  h.arrive(1);
  const StartCall running = h.calls.at(0);
  h.arrive(2);
  h.arrive(3);
  h.cancel(2);
  CHECK(h.replies.empty());
  CHECK(h.aborts.empty());
  h.finish(running);
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == Ids{3});
  CHECK(h.core.stats().cancelled == 1);
}

TEST_CASE("a call is aborted once, when the last who waits for it leaves") {
  CoreHarness h(one_model());
  h.step([&] {
    std::vector<Event> events;
    for (RequestId id = 1; id <= 3; ++id) events.emplace_back(Arrived{request_of(id, h.now)});
    return events;
  }());
  const StartCall call = h.calls.at(0);
  h.cancel(1);
  h.cancel(3);
  CHECK(h.aborts.empty());
  h.cancel(2);
  CHECK(h.aborts == std::vector<CallId>{call.call});
  h.cancel(2);
  CHECK(h.aborts.empty());
  h.fail(call, Code::kUpstream, true);
  CHECK(h.replies.empty());
  CHECK(h.core.idle());
  CHECK(h.core.stats().cancelled == 3);
}

TEST_CASE("rows of a failed call wait again with their age, up to attempts_max calls") {
  CoreHarness h(one_model());
  h.arrive(1, 2);
  const StartCall first = h.calls.at(0);
  h.now = h.now + milliseconds(1);
  h.arrive(2);
  h.fail(first, Code::kUpstream, true);
  CHECK(h.replies.empty());
  CHECK(h.core.stats().retried_rows == 2);
  REQUIRE(h.calls.size() == 1);
  const StartCall second = h.calls[0];
  CHECK(members(second) == Ids{1, 1, 2});  // the older one is in front again
  h.fail(second, Code::kUpstream, true);
  REQUIRE(h.replies.size() == 1);  // two calls are enough for request 1
  CHECK(h.replies[0].request == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kUpstream);
  CHECK(h.replies[0].timings.calls == 2);
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == Ids{2});
  h.finish(h.calls[0]);
  CHECK(h.replies.size() == 1);
  CHECK(h.core.idle());
  CHECK(h.core.stats().failed == 1);
}

TEST_CASE("an error that is not retryable reaches every member at once") {
  CoreHarness h(one_model());
  h.step([&] {
    std::vector<Event> events;
    for (RequestId id = 1; id <= 2; ++id) events.emplace_back(Arrived{request_of(id, h.now)});
    return events;
  }());
  h.fail(h.calls.at(0), Code::kUnauthorized, false);
  REQUIRE(h.replies.size() == 2);
  for (const Reply& reply : h.replies) {
    CHECK(reply.outcomes.error().code == Code::kUnauthorized);
  }
  CHECK(h.core.idle());
}

TEST_CASE("one failed piece answers the whole request and frees its other rows") {
  CoreOptions options = one_model();
  options.models[0].batch.items_max = 2;
  options.backends[0].slots = 2;
  CoreHarness h(options);
  h.arrive(1, 6);
  const std::vector<StartCall> calls = h.calls;
  REQUIRE(calls.size() == 2);
  h.fail(calls[0], Code::kInvalid, false);
  REQUIRE(h.replies.size() == 1);
  CHECK(h.aborts == std::vector<CallId>{calls[1].call});
  CHECK(h.calls.empty());
  CHECK(h.core.stats().queued.items == 0);
  h.finish(calls[1]);
  CHECK(h.replies.empty());
  CHECK(h.core.idle());
}

TEST_CASE("outcomes of rows are passed on as they are, errors among them") {
  CoreHarness h(one_model());
  h.arrive(1, 2);
  std::vector<Outcome> outcomes = outcomes_for(h.calls.at(0));
  outcomes[1] = Error{.code = Code::kInvalid, .message = "too odd"};
  h.step_one(CallDone{h.calls[0].call, std::move(outcomes), Failure::kFinal, {}});
  REQUIRE(h.replies.size() == 1);
  CHECK(text_of(h.replies[0], 0) == "1:0");
  CHECK(h.replies[0].outcomes.value()[1].error().message == "too odd");
}

TEST_CASE("a wrong number of outcomes is 502 for all, never a guess, never tried again") {
  for (const bool one_more : {false, true}) {
    CoreHarness h(one_model());
    h.arrive(1, 2);
    std::vector<Outcome> outcomes = outcomes_for(h.calls.at(0));
    one_more ? outcomes.push_back(outcomes[0]) : outcomes.pop_back();
    h.step_one(CallDone{h.calls[0].call, std::move(outcomes), Failure::kBroken, {}});
    REQUIRE(h.replies.size() == 1);
    CHECK(h.replies[0].outcomes.error().code == Code::kUpstream);
    CHECK(h.core.idle());
  }
}

TEST_CASE("events about what is gone or unknown change nothing") {
  CoreHarness h(one_model());
  h.arrive(1);
  const StartCall call = h.calls.at(0);
  h.finish(call);
  h.finish(call);
  CHECK(h.replies.empty());
  h.cancel(1);
  h.cancel(99);
  h.step_one(CallStarted{call.call});
  h.step_one(CallStarted{99});
  h.step_one(Warmth{99, false});
  CHECK(h.core.stats().cancelled == 0);
  CHECK(h.core.idle());
  h.arrive(2);
  CHECK(h.calls.size() == 1);
}

}  // namespace
}  // namespace sluice
