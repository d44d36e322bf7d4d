// SPDX-License-Identifier: Apache-2.0
// Laws of the core over many lives: random ones held to a plain model, all small ones, and long
// ones under overload.

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/prng.h"
#include "tests/core_driver.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

TEST_CASE("no random life breaks a law of the plain model") {
  CoreStats sum;
  uint64_t opens = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Prng prng(seed);
    CoreDriver driver([&prng](int64_t low, int64_t high) { return prng.between(low, high); });
    bool good = true;
    for (int i = 0; i < 300 && good; ++i) good = driver.step();
    if (!good || !driver.finish()) {
      for (const std::string& complaint : driver.complaints()) MESSAGE(complaint);
      FAIL("seed ", seed);
    }
    const CoreStats& stats = driver.stats();
    sum.replied += stats.replied;
    sum.cancelled += stats.cancelled;
    sum.expired += stats.expired;
    sum.hopeless += stats.hopeless;
    sum.rejected_full += stats.rejected_full;
    sum.rejected_drain += stats.rejected_drain;
    sum.failed += stats.failed;
    sum.retried_rows += stats.retried_rows;
    sum.rejected_open += stats.rejected_open;
    sum.failed_open += stats.failed_open;
    sum.budget_refused += stats.budget_refused;
    sum.splits += stats.splits;
    sum.split_calls += stats.split_calls;
    for (const BackendStats& backend : stats.backends) opens += backend.breaker_opens;
    for (size_t i = 0; i < kFailures; ++i) sum.failures[i] += stats.failures[i];
    for (size_t i = 0; i < kLeaveReasons; ++i) sum.left[i] += stats.left[i];
  }
  // Laws that nothing ever put to the test hold for no reason.
  for (const uint64_t count : {sum.replied, sum.cancelled, sum.expired, sum.rejected_full,
                               sum.rejected_drain, sum.failed, sum.retried_rows}) {
    CHECK(count > 300);
  }
  for (const uint64_t count : {sum.rejected_open, sum.splits, sum.split_calls, opens}) {
    CHECK(count > 100);
  }
  CHECK(sum.budget_refused > 30);
  CHECK(sum.failed_open > 3);
  CHECK(sum.hopeless > 10);
  for (const uint64_t count : sum.failures) CHECK(count > 100);
  for (const uint64_t count : sum.left) CHECK(count > 5);
}

// Every life of `steps` steps whose every choice is one of the first `width` there are.
TEST_CASE("no small life breaks a law: all sequences of five of the nine things that can happen") {
  constexpr int kThings = 9;
  constexpr int kLength = 5;
  int lives = 1;
  for (int i = 0; i < kLength; ++i) lives *= kThings;
  CoreOptions options = one_model();
  options.models[0].batch.items_max = 2;
  options.models[0].queue.items_max = 4;
  options.models[0].queue.deadline = milliseconds(2);
  for (int life = 0; life < lives; ++life) {
    Core core(options);
    CoreModel model(options);
    Instant now = Instant{} + seconds(1);
    RequestId last = 0;
    int rest = life;
    const auto run = [&](Event event) {
      std::vector<Event> events;
      events.emplace_back(std::move(event));
      model.before(now, events);
      std::vector<Action> actions;
      core.step(now, events, actions);
      model.after(actions, core);
    };
    const auto end = [&](bool good, bool retryable) {
      const auto calls = model.running();
      if (calls.empty()) return run(CallDone{77, Error{}, Failure::kFinal, {}});
      if (good) return run(CallDone{calls[0].call, outcomes_for(calls[0]), Failure::kFinal, {}});
      run(CallDone{calls[0].call, Error{}, retryable ? Failure::kBroken : Failure::kFinal, {}});
    };
    for (int i = 0; i < kLength; ++i, rest /= kThings) {
      const int thing = rest % kThings;
      if (thing <= 2) {
        Request request = request_of(++last, now, thing == 1 ? 3 : 1);
        request.tenant = thing == 2 ? 1 : 0;
        run(Arrived{std::move(request)});
      }
      if (thing == 3) run(Cancelled{last});
      if (thing == 4) run(Cancelled{1});
      if (thing == 5) end(true, false);
      if (thing == 6) end(false, true);
      if (thing == 7) end(false, false);
      if (thing == 8) {
        now = now + milliseconds(1);
        run(CallStarted{1});
      }
    }
    while (!core.idle()) end(true, false);
    if (!model.complaints().empty()) FAIL("life ", life, ": ", model.complaints()[0]);
  }
}

TEST_CASE("tenants with a backlog get equal shares of tokens, whatever their requests look like") {
  constexpr uint64_t kTenants = 5;
  constexpr uint64_t kRowMax = 150;  // tokens; more than a sixteenth of a batch, so a turn is this
  CoreOptions options = one_model();
  options.models[0].batch.tokens_max = 2000;
  options.models[0].queue.items_max = 100'000;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    CoreHarness h(options);
    Prng prng(seed);
    std::vector<uint64_t> waiting(kTenants), served(kTenants);
    std::vector<Request> sent(1);
    for (int batch = 0; batch < 100; ++batch) {
      std::vector<Event> events;
      if (batch > 0)
        events.emplace_back(
            CallDone{h.calls[0].call, outcomes_for(h.calls[0]), Failure::kFinal, {}});
      for (uint64_t tenant = 0; tenant < kTenants; ++tenant) {
        while (waiting[tenant] < 200) {  // rows: nobody's backlog ever ends
          Request request = request_of(sent.size(), h.now);
          request.tenant = tenant;
          request.rows.resize(
              static_cast<size_t>(prng.between(1, 1 + 10 * static_cast<int64_t>(tenant))));
          for (Row& row : request.rows) {
            row.tokens =
                static_cast<uint32_t>(prng.between(1, 30 + 30 * static_cast<int64_t>(tenant)));
          }
          waiting[tenant] += request.rows.size();
          sent.push_back(request);
          events.emplace_back(Arrived{std::move(request)});
        }
      }
      h.now = h.now + milliseconds(1);
      h.step(std::move(events));
      REQUIRE(h.calls.size() == 1);
      for (const CallRow& row : h.calls[0].rows) {
        const Request& request = sent[row.request];
        served[request.tenant] += request.rows[row.index].tokens;
        --waiting[request.tenant];
      }
      const auto [least, most] = std::minmax_element(served.begin(), served.end());
      CHECK(*most - *least <= 3 * kRowMax);
    }
  }
}

TEST_CASE("the lowest priority waits its age out under overload of the highest, and no longer") {
  CoreOptions options = one_model();
  options.priority_max = 3;
  options.priority_step = milliseconds(100);
  options.models[0].batch.items_max = 2;
  options.models[0].queue.items_max = 20;
  CoreHarness h(options);
  const Instant start = h.now;
  RequestId last = 1;
  std::optional<Duration> waited;
  std::optional<StartCall> running;
  while (!waited && h.now < start + seconds(5)) {
    std::vector<Event> events;
    if (running)
      events.emplace_back(CallDone{running->call, outcomes_for(*running), Failure::kFinal, {}});
    for (int i = 0; i < 4; ++i) {  // twice what the model can do
      Request request = request_of(last == 10 ? 1'000'000 : last, h.now);
      request.priority = last == 10 ? -3 : 3;
      ++last;
      events.emplace_back(Arrived{std::move(request)});
    }
    h.step(std::move(events));
    running = h.calls.at(0);
    for (const RequestId id : members(*running)) {
      if (id == 1'000'000) waited = h.now - start;
    }
    h.now = h.now + milliseconds(1);
  }
  REQUIRE(waited);
  CHECK(*waited >= milliseconds(600));  // six levels
  CHECK(*waited <= milliseconds(650));  // and those who were in front by then
  CHECK(h.core.stats().rejected_full > 0);
}

// Elementary steps per request when requests come, expire, are cancelled and leave in batches while
// `waiting` others wait.
double steps_per_request(uint64_t waiting) {
  CoreOptions options = one_model();
  options.models[0].queue = {.items_max = 1'000'000,
                             .bytes_max = 1'000'000'000,
                             .tenant_items_max = 1'000'000,
                             .deadline = seconds(60)};
  CoreHarness h(options);
  Prng prng(11);
  RequestId last = 0;
  std::vector<Event> events;
  const auto arrive = [&] {
    Request request = request_of(++last, h.now - microseconds(prng.between(0, 1000)));
    request.tenant = prng.next() % 50;
    request.key = std::to_string(prng.next() % 100);
    request.deadline = h.now + milliseconds(prng.between(1'000, 100'000));
    events.emplace_back(Arrived{std::move(request)});
  };
  while (last < waiting) arrive();
  h.step(std::move(events));
  const uint64_t before = h.core.stats().steps;
  const RequestId first = last;
  for (int round = 0; round < 300; ++round) {
    events.clear();
    const StartCall running = h.calls.at(0);
    for (int i = 0; i < 20; ++i) arrive();
    for (int i = 0; i < 5; ++i) {
      events.emplace_back(
          Cancelled{static_cast<RequestId>(prng.between(1, static_cast<int64_t>(last)))});
    }
    events.emplace_back(CallDone{running.call, outcomes_for(running), Failure::kFinal, {}});
    h.now = h.now + milliseconds(1);
    h.step(std::move(events));
  }
  return static_cast<double>(h.core.stats().steps - before) / static_cast<double>(last - first);
}

TEST_CASE("the work per request grows like the logarithm of what waits, also at 100,000") {
  const double few = steps_per_request(1'000);
  const double many = steps_per_request(100'000);  // a hundred times as much: 7 more levels
  INFO("steps per request: ", few, " at 1,000 waiting, ", many, " at 100,000");
  CHECK(many < few + 7 * 12);  // by age, by deadline, by key: at most two steps per level each
}

}  // namespace
}  // namespace sluice
