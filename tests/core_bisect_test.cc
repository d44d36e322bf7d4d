// SPDX-License-Identifier: Apache-2.0
// Calls that fail through the fault of one of their rows: the culprit is found, its neighbours are
// served.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "base/prng.h"
#include "batcher/core.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

CoreOptions merging(uint64_t items_max = 256) {
  CoreOptions options = one_model();
  options.models[0].batch.items_max = items_max;
  return options;
}

const Error kRejection{.code = Code::kInvalid,
                       .message = "odd",
                       .upstream_status = 422,
                       .upstream_body = Slice::copy_of("odd one")};

// A backend that rejects every call with one of `culprits` in it.
struct Choosy : CoreHarness {
  explicit Choosy(CoreOptions options = merging()) : CoreHarness(std::move(options)) {}

  // Ends calls until nothing is left to do.
  void run() {
    std::deque<StartCall> open(calls.begin(), calls.end());
    note();
    while (!open.empty()) {
      const StartCall call = open.front();
      open.pop_front();
      ++made;
      sizes.push_back(call.rows.size());
      const bool bad = std::any_of(call.rows.begin(), call.rows.end(), [this](const CallRow& row) {
        return culprits.contains(row.request);
      });
      now = now + milliseconds(1);
      bad ? fail_as(call, failure, kRejection) : finish(call);
      note();
      open.insert(open.end(), calls.begin(), calls.end());
    }
  }
  // `count` requests arrive in one step; request i has tenant i.
  void arrive_together(RequestId count) {
    std::vector<Event> events;
    for (RequestId id = 1; id <= count; ++id) {
      Request request = request_of(id, now);
      request.tenant = id;
      events.emplace_back(Arrived{std::move(request)});
    }
    step(std::move(events));
  }
  void note() {
    for (const Reply& reply : replies) {
      CHECK(answers.emplace(reply.request, reply.outcomes.ok()).second);
      if (reply.outcomes.ok()) continue;
      CHECK(reply.outcomes.error().upstream_status == 422);
      CHECK(reply.outcomes.error().upstream_body.view() == "odd one");
    }
  }

  Failure failure = Failure::kRejected;
  std::set<RequestId> culprits;
  std::map<RequestId, bool> answers;
  size_t made = 0;
  std::vector<size_t> sizes;
};

TEST_CASE("one culprit among n is found in 2 * log2(n) + 1 calls, whichever it is") {
  for (const RequestId count : {1u, 2u, 3u, 4u, 7u, 8u, 33u, 64u, 256u}) {
    for (RequestId culprit = 1; culprit <= count; culprit += 1 + count / 16) {
      Choosy h;
      h.culprits = {culprit};
      h.arrive_together(count);
      h.run();
      const auto levels = static_cast<size_t>(std::ceil(std::log2(count)));
      CHECK(h.made <= 2 * levels + 1);
      CHECK(h.answers.size() == count);
      for (const auto& [id, good] : h.answers) CHECK(good == (id != culprit));
      CHECK(h.core.idle());
      CHECK(h.core.stats().split_calls == h.made - 1);
    }
  }
}

TEST_CASE("any number of culprits among n are found in 2n - 1 calls") {
  Prng prng(3);
  for (const RequestId count : {2u, 5u, 16u, 31u, 64u}) {
    for (const double share : {0.1, 0.5, 1.0}) {
      Choosy h;
      for (RequestId id = 1; id <= count; ++id) {
        if (prng.chance(share)) h.culprits.insert(id);
      }
      h.arrive_together(count);
      h.run();
      CHECK(h.made <= 2 * count - 1);
      for (const auto& [id, good] : h.answers) CHECK(good != h.culprits.contains(id));
      CHECK(h.answers.size() == count);
    }
  }
}

TEST_CASE("the halves are even, leave before what waits, and mix with nothing") {
  CoreHarness h(merging(4));
  std::vector<Event> events;
  for (RequestId id = 1; id <= 4; ++id) events.emplace_back(Arrived{request_of(id, h.now)});
  h.step(std::move(events));
  Request older = request_of(5, h.now - seconds(10));
  const StartCall first = h.calls.at(0);
  h.arrive(std::move(older));
  h.fail_as(first, Failure::kRejected);
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == std::vector<RequestId>{1, 2});
  CHECK(h.calls[0].reason == LeaveReason::kSplit);
  h.finish(h.calls[0]);
  CHECK(members(h.calls.at(0)) == std::vector<RequestId>{3, 4});
  h.finish(h.calls[0]);
  CHECK(members(h.calls.at(0)) == std::vector<RequestId>{5});
}

TEST_CASE("being split uses up no attempts: a neighbour may still be tried again") {
  CoreOptions options = merging();
  options.attempts_max = 2;
  Choosy h(options);
  h.culprits = {1};
  h.arrive_together(8);
  h.fail_as(h.calls.at(0), Failure::kRejected, kRejection);
  h.fail_as(h.calls.at(0), Failure::kRejected, kRejection);  // 1 to 4
  StartCall others = h.calls.at(0);
  REQUIRE(members(others).front() == 5);
  h.fail_as(others, Failure::kUnreachable);
  CHECK(h.replies.empty());  // they wait again
  h.run();
  CHECK(h.answers.size() == 8);
  for (const auto& [id, good] : h.answers) CHECK(good == (id != 1));
}

TEST_CASE("members of a half keep their deadline and can be cancelled") {
  CoreHarness h(merging());
  std::vector<Event> events;
  for (RequestId id = 1; id <= 4; ++id) {
    Request request = request_of(id, h.now);
    if (id == 4) request.deadline = h.now + seconds(1);
    events.emplace_back(Arrived{std::move(request)});
  }
  h.step(std::move(events));
  h.fail_as(h.calls.at(0), Failure::kRejected);
  const StartCall half = h.calls.at(0);
  h.cancel(3);
  h.now = h.now + seconds(1);
  h.step();
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kTimeout);
  h.finish(half);
  CHECK(h.replies.size() == 2);
  CHECK(h.calls.empty());
  CHECK(h.core.idle());
}

TEST_CASE("who is left of a failed call goes out again: the one who left may have been at fault") {
  CoreHarness h(merging());
  std::vector<Event> events;
  for (RequestId id = 1; id <= 2; ++id) events.emplace_back(Arrived{request_of(id, h.now)});
  h.step(std::move(events));
  const StartCall call = h.calls.at(0);
  h.cancel(1);
  h.fail_as(call, Failure::kRejected, kRejection);
  CHECK(h.replies.empty());
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == std::vector<RequestId>{2});
  h.finish(h.calls[0]);
  CHECK(h.replies.at(0).outcomes.ok());
}

TEST_CASE("a 500 is looked into only where the backend is configured so, and opens no breaker") {
  CoreOptions options = merging();
  options.backends[0].bisect_5xx = true;
  Choosy h(options);
  h.failure = Failure::kBroken;
  h.culprits = {1, 2, 3, 4, 5, 6};
  h.arrive_together(16);
  h.run();
  CHECK(h.answers.size() == 16);
  for (const auto& [id, good] : h.answers) CHECK(good == (id > 6));
  CHECK(h.core.stats().backends.at(0).breaker_opens == 0);

  CoreHarness plain(merging());
  std::vector<Event> events;
  for (RequestId id = 1; id <= 2; ++id) events.emplace_back(Arrived{request_of(id, plain.now)});
  plain.step(std::move(events));
  plain.fail_as(plain.calls.at(0), Failure::kBroken);
  CHECK(plain.core.stats().splits == 0);
}

TEST_CASE("a call that is too large is cut by bytes: between requests, then rows, then it is so") {
  CoreHarness h(merging());
  std::vector<Event> events;
  const size_t bytes[] = {10, 10, 70, 10};
  for (RequestId id = 1; id <= 3; ++id) {
    Request request = request_of(id, h.now);
    request.rows = rows_of(id == 3 ? 2 : 1, bytes[id - 1]);
    if (id == 3) request.rows[1] = rows_of(1, bytes[3])[0];
    events.emplace_back(Arrived{std::move(request)});
  }
  h.step(std::move(events));
  h.fail_as(h.calls.at(0), Failure::kTooLarge);
  REQUIRE(members(h.calls.at(0)) == std::vector<RequestId>{1, 2});
  h.finish(h.calls[0]);
  REQUIRE(members(h.calls.at(0)) == std::vector<RequestId>{3, 3});
  h.fail_as(h.calls[0], Failure::kTooLarge);
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].rows.size() == 1);
  CHECK(h.calls[0].rows[0].index == 0);
  h.fail_as(h.calls[0], Failure::kTooLarge,
            {.code = Code::kTooLarge, .message = {}, .upstream_status = 413});
  REQUIRE(h.replies.size() == 1);
  CHECK(h.replies[0].outcomes.error().code == Code::kTooLarge);
  CHECK(h.replies[0].outcomes.error().upstream_status == 413);
  CHECK(h.calls.empty());
  CHECK(h.core.idle());
}

TEST_CASE("what remains of a call that was too large goes out whole: it is smaller already") {
  CoreHarness h(merging());
  std::vector<Event> events;
  for (RequestId id = 1; id <= 2; ++id) events.emplace_back(Arrived{request_of(id, h.now, 2)});
  h.step(std::move(events));
  const StartCall call = h.calls.at(0);
  h.cancel(1);
  h.fail_as(call, Failure::kTooLarge);
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == std::vector<RequestId>{2, 2});
}

TEST_CASE("a request whose rows go out in halves is answered in one piece") {
  CoreHarness h(merging());
  h.arrive(1, 5);
  h.fail_as(h.calls.at(0), Failure::kTooLarge);
  h.finish(h.calls.at(0));
  CHECK(h.replies.empty());
  h.finish(h.calls.at(0));
  REQUIRE(h.replies.size() == 1);
  const std::vector<Outcome>& outcomes = h.replies[0].outcomes.value();
  for (size_t i = 0; i < 5; ++i) {
    CHECK(outcomes.at(i).value().bytes.view() == "1:" + std::to_string(i));
  }
}

TEST_CASE("a tenant found at fault twice travels alone for a minute, in its own company") {
  CoreHarness h(merging());
  RequestId last = 0;
  // Requests of these tenants arrive in one step; the calls that leave at once.
  const auto arrive = [&](const std::vector<uint64_t>& tenants) {
    std::vector<Event> events;
    for (const uint64_t tenant : tenants) {
      Request request = request_of(++last, h.now);
      request.tenant = tenant;
      events.emplace_back(Arrived{std::move(request)});
    }
    h.step(std::move(events));
  };
  for (int round = 0; round < 2; ++round) {
    arrive({1, 2});
    REQUIRE(h.calls.size() == 1);
    REQUIRE(h.calls[0].rows.size() == 2);
    h.fail_as(h.calls[0], Failure::kRejected);
    h.fail_as(h.calls.at(0), Failure::kRejected);  // tenant 1
    h.finish(h.calls.at(0));                       // tenant 2
    h.now = h.now + seconds(20);
  }
  arrive({1, 2, 1});
  REQUIRE(h.calls.size() == 1);
  CHECK(members(h.calls[0]) == std::vector<RequestId>{last - 2, last});
  h.finish(h.calls[0]);
  CHECK(members(h.calls.at(0)) == std::vector<RequestId>{last - 1});
  CHECK(h.calls[0].key == "");  // the key is its own all the same
  h.finish(h.calls[0]);
  h.now = h.now + seconds(41);
  arrive({1, 2});
  REQUIRE(h.calls.size() == 1);
  CHECK(h.calls[0].rows.size() == 2);
}

TEST_CASE("requests without credentials are nobody's, so none of them travels alone") {
  CoreHarness h(merging());
  for (RequestId id = 1; id <= 8; id += 2) {
    std::vector<Event> events;
    events.emplace_back(Arrived{request_of(id, h.now)});
    events.emplace_back(Arrived{request_of(id + 1, h.now)});
    h.step(std::move(events));
    REQUIRE(h.calls.at(0).rows.size() == 2);
    h.fail_as(h.calls[0], Failure::kRejected);
    h.fail_as(h.calls.at(0), Failure::kRejected);
    h.fail_as(h.calls.at(0), Failure::kRejected);
  }
}

}  // namespace
}  // namespace sluice
