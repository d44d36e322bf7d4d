// SPDX-License-Identifier: Apache-2.0
// The table of failures, line by line, and the small parts that it is carried out with.
#include "batcher/failures.h"

#include <doctest/doctest.h>

#include "batcher/breaker.h"
#include "batcher/offenders.h"
#include "batcher/retry.h"
#include "batcher/slots.h"

namespace sluice {
namespace {

FailurePolicy line(Failure failure) { return policy_of(failure, BackendOptions{"b", 1}); }

// What a client gets of an upstream's error, which has everything in it.
Error told(Failure failure, Code code = Code::kForbidden, Duration retry_after = {}) {
  const Error error{.code = code,
                    .message = "why",
                    .retry_after = retry_after,
                    .upstream_status = 418,
                    .upstream_body = Slice::copy_of("body"),
                    .upstream_type = "text/plain"};
  return client_error(line(failure), error);
}
bool as_it_came(const Error& error) {
  return error.code == Code::kForbidden && error.upstream_status == 418 &&
         error.upstream_body.view() == "body";
}
// With `code`, and without what the upstream said to somebody.
bool mapped(const Error& error, Code code) {
  return error.code == code && error.message == "why" && error.upstream_status == 0 &&
         error.upstream_body.empty() && error.upstream_type.empty();
}

TEST_CASE("unreachable: again at once and without a budget, counts, 502") {
  const FailurePolicy policy = line(Failure::kUnreachable);
  CHECK(policy.retry == Retry::kNow);
  CHECK_FALSE(policy.needs_budget);
  CHECK_FALSE(policy.needs_repeatable);
  CHECK(policy.counts);
  CHECK(policy.split == Split::kNone);
  CHECK(mapped(told(Failure::kUnreachable), Code::kUpstream));
}

TEST_CASE("busy: again after a while within the budget, counts, 503 with Retry-After") {
  const FailurePolicy policy = line(Failure::kBusy);
  CHECK(policy.retry == Retry::kBackoff);
  CHECK(policy.needs_budget);
  CHECK_FALSE(policy.needs_repeatable);
  CHECK(policy.counts);
  CHECK_FALSE(policy.shrinks);
  CHECK(mapped(told(Failure::kBusy), Code::kUnavailable));
  CHECK(told(Failure::kBusy).retry_after == seconds(1));
  CHECK(told(Failure::kBusy, Code::kUnavailable, seconds(7)).retry_after == seconds(7));
}

TEST_CASE("throttled: as busy, but it shows the backend alive and takes slots from it") {
  const FailurePolicy policy = line(Failure::kThrottled);
  CHECK(policy.retry == Retry::kBackoff);
  CHECK(policy.needs_budget);
  CHECK_FALSE(policy.counts);
  CHECK_FALSE(policy.is_silent);
  CHECK(policy.shrinks);
  CHECK(mapped(told(Failure::kThrottled, Code::kOverloaded), Code::kUnavailable));
  CHECK(told(Failure::kThrottled).retry_after == seconds(1));
}

TEST_CASE(
    "broken: again at once if repeatable, within the budget; counts; 502, or an engine's own") {
  const FailurePolicy policy = line(Failure::kBroken);
  CHECK(policy.retry == Retry::kNow);
  CHECK(policy.needs_budget);
  CHECK(policy.needs_repeatable);
  CHECK(policy.counts);
  CHECK(policy.split == Split::kNone);
  CHECK(mapped(told(Failure::kBroken), Code::kUpstream));
  CHECK(mapped(told(Failure::kBroken, Code::kInternal), Code::kInternal));
}

TEST_CASE("broken where a row may be at fault: split, and nothing is held against the backend") {
  BackendOptions options{"b", 1};
  options.bisect_5xx = true;
  CHECK(policy_of(Failure::kBroken, options).split == Split::kRequests);
  CHECK_FALSE(policy_of(Failure::kBroken, options).counts);
  CHECK(policy_of(Failure::kCut, options).split == Split::kNone);
  CHECK(policy_of(Failure::kCut, options).counts);
}

TEST_CASE("cut: again after a while if repeatable, within the budget; counts; 502 or 504") {
  const FailurePolicy policy = line(Failure::kCut);
  CHECK(policy.retry == Retry::kBackoff);
  CHECK(policy.needs_budget);
  CHECK(policy.needs_repeatable);
  CHECK(policy.counts);
  CHECK(mapped(told(Failure::kCut), Code::kUpstream));
  CHECK(mapped(told(Failure::kCut, Code::kTimeout), Code::kTimeout));
}

TEST_CASE("rejected: split by requests, never again, as it came") {
  const FailurePolicy policy = line(Failure::kRejected);
  CHECK(policy.retry == Retry::kNo);
  CHECK(policy.split == Split::kRequests);
  CHECK_FALSE(policy.counts);
  CHECK_FALSE(policy.is_silent);
  CHECK(as_it_came(told(Failure::kRejected)));
}

TEST_CASE("denied: never again, not split, as it came") {
  const FailurePolicy policy = line(Failure::kDenied);
  CHECK(policy.retry == Retry::kNo);
  CHECK(policy.split == Split::kNone);
  CHECK_FALSE(policy.counts);
  CHECK(as_it_came(told(Failure::kDenied)));
}

TEST_CASE("too large: split by bytes, as it came") {
  const FailurePolicy policy = line(Failure::kTooLarge);
  CHECK(policy.retry == Retry::kNo);
  CHECK(policy.split == Split::kBytes);
  CHECK_FALSE(policy.counts);
  CHECK(as_it_came(told(Failure::kTooLarge)));
}

TEST_CASE("wrong answer: never again, 502") {
  const FailurePolicy policy = line(Failure::kWrongAnswer);
  CHECK(policy.retry == Retry::kNo);
  CHECK(policy.split == Split::kNone);
  CHECK_FALSE(policy.counts);
  CHECK(mapped(told(Failure::kWrongAnswer), Code::kUpstream));
}

TEST_CASE("final: never again, says nothing about the backend, as it came") {
  const FailurePolicy policy = line(Failure::kFinal);
  CHECK(policy.retry == Retry::kNo);
  CHECK(policy.is_silent);
  CHECK(as_it_came(told(Failure::kFinal)));
}

TEST_CASE("pauses double from the base to the limit, and chance takes at most half of one") {
  const Duration base = milliseconds(50);
  CHECK(backoff(base, seconds(2), 1) == milliseconds(50));
  CHECK(backoff(base, seconds(2), 2) == milliseconds(100));
  CHECK(backoff(base, seconds(2), 6) == milliseconds(1600));
  CHECK(backoff(base, seconds(2), 7) == seconds(2));
  CHECK(backoff(base, seconds(2), 4'000'000'000u) == seconds(2));
  CHECK(jittered(milliseconds(100), 0) == milliseconds(50));
  CHECK(jittered(milliseconds(100), 0.5) == milliseconds(75));
  CHECK(jittered(milliseconds(100), 0.999) < milliseconds(100));
}

TEST_CASE("a budget allows a burst of three, then one retry in ten calls, and saves no more") {
  RetryBudget budget;
  for (int i = 0; i < 100; ++i) budget.earn();
  for (int i = 0; i < 3; ++i) CHECK(budget.spend());
  CHECK_FALSE(budget.spend());
  for (int i = 0; i < 9; ++i) budget.earn();
  CHECK_FALSE(budget.spend());
  budget.earn();
  CHECK(budget.spend());
  CHECK_FALSE(budget.spend());
}

TEST_CASE("a breaker opens at the fifth failure in a row and probes at growing steps up to 10 s") {
  Breaker breaker(5);
  Instant now = Instant{} + seconds(100);
  for (CallId call = 1; call <= 4; ++call) breaker.bad(call, now);
  breaker.good();
  for (CallId call = 1; call <= 4; ++call) breaker.bad(call, now);
  CHECK(breaker.lets(now));
  CHECK_FALSE(breaker.bad(5, now));  // it opens, but was no probe
  CHECK(breaker.opens() == 1);
  CallId call = 10;
  for (const int64_t pause : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10}) {
    CHECK(breaker.state() == BreakerState::kOpen);
    CHECK(breaker.probe_at() == now + seconds(pause));
    CHECK_FALSE(breaker.lets(breaker.probe_at() - nanoseconds(1)));
    now = breaker.probe_at();
    REQUIRE(breaker.lets(now));
    breaker.begin(++call, now);
    CHECK(breaker.state() == BreakerState::kProbing);
    CHECK_FALSE(breaker.lets(now + seconds(60)));  // one at a time
    CHECK_FALSE(breaker.bad(3, now));              // one that began before
    CHECK(breaker.bad(call, now));
  }
  CHECK(breaker.opens() == 1);
  breaker.good();
  CHECK(breaker.state() == BreakerState::kClosed);
  for (CallId other = 1; other <= 5; ++other) breaker.bad(other, now);
  CHECK(breaker.probe_at() == now + seconds(1));  // the steps begin anew
}

TEST_CASE("a probe that tells nothing makes way for another one") {
  Breaker breaker(1);
  const Instant start = Instant{} + seconds(100);
  breaker.bad(1, start);
  const Instant now = start + seconds(1);
  breaker.begin(2, now);
  breaker.silent(1, now);
  CHECK_FALSE(breaker.lets(now));
  breaker.silent(2, now);
  CHECK(breaker.lets(now));
}

TEST_CASE("a breaker for no failures never opens") {
  Breaker breaker(0);
  for (CallId call = 1; call <= 1000; ++call) breaker.bad(call, Instant{});
  CHECK(breaker.lets(Instant{}));
}

TEST_CASE("429 halves slots once per round of calls, and good calls bring them back one by one") {
  const std::vector<BackendOptions> backends = {{"a", 8}};
  Slots slots(backends);
  for (CallId call = 1; call <= 8; ++call) slots.occupy(0, call, Instant{});
  slots.shrink(0, 3);
  CHECK(slots.slots_of(0) == 4);
  slots.shrink(0, 8);  // began before that
  CHECK(slots.slots_of(0) == 4);
  CHECK_FALSE(slots.choose(std::vector<BackendIndex>{0}, Instant{}));
  for (int i = 0; i < 8; ++i) slots.release(0);
  for (CallId call = 9; slots.slots_of(0) > 1; ++call) {
    slots.occupy(0, call, Instant{});
    slots.release(0);
    slots.shrink(0, call);
  }
  slots.occupy(0, 50, Instant{});
  slots.release(0);
  slots.shrink(0, 50);
  CHECK(slots.slots_of(0) == 1);
  for (uint32_t now = 1; now < 8; ++now) {
    for (uint32_t good = 1; good < now; ++good) slots.grow(0);
    CHECK(slots.slots_of(0) == now);
    slots.grow(0);
    CHECK(slots.slots_of(0) == now + 1);
  }
  for (int i = 0; i < 100; ++i) slots.grow(0);
  CHECK(slots.slots_of(0) == 8);
}

TEST_CASE("two faults within a minute make an offender for a minute; tenant 0 never is one") {
  Offenders offenders(4);
  const Instant now = Instant{} + seconds(1000);
  offenders.found_guilty(7, now);
  CHECK_FALSE(offenders.travels_alone(7, now));
  offenders.found_guilty(7, now + seconds(61));
  CHECK_FALSE(offenders.travels_alone(7, now + seconds(61)));
  offenders.found_guilty(7, now + seconds(121));
  CHECK(offenders.travels_alone(7, now + seconds(181) - nanoseconds(1)));
  CHECK_FALSE(offenders.travels_alone(7, now + seconds(181)));
  for (int i = 0; i < 5; ++i) offenders.found_guilty(0, now);
  CHECK_FALSE(offenders.travels_alone(0, now));
}

TEST_CASE("the table of offenders is bounded; the oldest fault is forgotten first") {
  Offenders offenders(3);
  const Instant now = Instant{} + seconds(1000);
  for (uint64_t tenant = 1; tenant <= 10; ++tenant) {
    offenders.found_guilty(tenant, now + seconds(static_cast<int64_t>(tenant)));
    CHECK(offenders.size() <= 3);
  }
  offenders.found_guilty(9, now + seconds(11));
  CHECK(offenders.travels_alone(9, now + seconds(11)));
  offenders.found_guilty(7, now + seconds(12));
  CHECK_FALSE(offenders.travels_alone(7, now + seconds(12)));
}

}  // namespace
}  // namespace sluice
