// SPDX-License-Identifier: Apache-2.0
// Late binding: the next batch is put together when the one that runs says that it is about to end,
// and waits at the backend, so that a device goes on without a pause.
#include <doctest/doctest.h>

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

}  // namespace
}  // namespace sluice
