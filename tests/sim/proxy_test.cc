// SPDX-License-Identifier: Apache-2.0
// The whole gateway in front of an endpoint, under seeds: whatever fails on the way, each caller
// gets its own answer, once, and the endpoint never sees what does not belong together.
#include <doctest/doctest.h>

#include <string>

#include "tests/sim/proxy_world.h"

namespace sluice::sim {
namespace {

constexpr uint64_t kSeeds = 150;

void check(const ProxyPlan& plan, const ProxySummary& summary) {
  INFO("seed " << plan.seed << " with " << plan.io_loops << " loops");
  for (const std::string& violation : summary.violations) FAIL_CHECK(violation);
}

TEST_CASE("in front of an endpoint that fails in every way, every request gets its own answer") {
  uint64_t answered = 0;
  uint64_t chats = 0;
  uint64_t poisoned = 0;
  uint64_t failed = 0;
  uint64_t calls = 0;
  uint64_t items = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const ProxyPlan plan = ProxyPlan::draw(seed);
    const ProxySummary summary = run(plan);
    check(plan, summary);
    answered += summary.answered;
    chats += summary.chats;
    poisoned += summary.poisoned;
    failed += summary.failed;
    calls += summary.calls;
    items += summary.items;
  }
  MESSAGE(answered << " answered, " << chats << " chats, " << poisoned << " poisoned, " << failed
                   << " failed, " << calls << " calls of " << items << " items");
  // The faults must not be so bad that nothing is tested, nor so rare.
  CHECK(answered > kSeeds * 10);
  CHECK(chats > kSeeds);
  CHECK(poisoned > 10);
  CHECK(failed > kSeeds);
  CHECK(items > calls * 2);
}

TEST_CASE("in front of an endpoint, the same seed gives the same trace, another seed another") {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    const ProxyPlan plan = ProxyPlan::draw(seed);
    CHECK(run(plan).trace_hash == run(plan).trace_hash);
  }
  CHECK(run(ProxyPlan::draw(1)).trace_hash != run(ProxyPlan::draw(2)).trace_hash);
}

TEST_CASE("in front of an endpoint, one I/O loop and four hold the same") {
  for (uint64_t seed = 2000; seed < 2025; ++seed) {
    for (const size_t io_loops : {size_t{1}, size_t{4}}) {
      ProxyPlan plan = ProxyPlan::draw(seed);
      plan.io_loops = io_loops;
      check(plan, run(plan));
    }
  }
}

TEST_CASE("an endpoint without faults serves everybody, in shared calls, and usage adds up") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    ProxyPlan plan = ProxyPlan::draw(seed);
    plan.tei = false;
    plan.config = proxy_config(false);
    plan.config.models[0].backends[0].upstream.slots = plan.endpoint.slots;
    finish_config(plan.config);
    plan.clients = 40;
    plan.requests = 200;
    plan.poison = plan.leave = plan.deadline = 0;
    plan.upstream = {};
    plan.endpoint.faults = {};
    plan.endpoint.a = milliseconds(5);
    plan.endpoint.items_max = 64;
    const ProxySummary summary = run(plan);
    check(plan, summary);
    CHECK(summary.failed == 0);
    CHECK(summary.answered >= 200);
    CHECK(summary.usage == summary.tokens);
    CHECK(summary.items > summary.calls);
  }
}

TEST_CASE("what one caller's text is refused for, no other caller hears of") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    ProxyPlan plan = ProxyPlan::draw(seed);
    plan.people = 1;
    plan.clients = 20;
    plan.poison = 0.1;
    plan.leave = plan.deadline = 0;
    plan.upstream = {};
    plan.endpoint.faults = {};
    const ProxySummary summary = run(plan);
    check(plan, summary);
    CHECK(summary.failed == 0);
  }
}

}  // namespace
}  // namespace sluice::sim
