// SPDX-License-Identifier: Apache-2.0
// The whole gateway under seeds: whatever goes wrong, each caller gets its own answer, once.
#include <doctest/doctest.h>

#include <string>

#include "tests/sim/world.h"

namespace sluice::sim {
namespace {

constexpr uint64_t kSeeds = 200;

void check(const Plan& plan, const Summary& summary) {
  INFO("seed " << plan.seed);
  for (const std::string& violation : summary.violations) FAIL_CHECK(violation);
}

TEST_CASE("whatever fails, every request gets its own answer once and nothing is left behind") {
  uint64_t answered = 0;
  uint64_t rows = 0;
  uint64_t batches = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Plan plan = Plan::draw(seed);
    const Summary summary = run(plan);
    check(plan, summary);
    answered += summary.answered;
    rows += summary.rows;
    batches += summary.batches;
  }
  // The faults must not be so bad that nothing is tested.
  CHECK(answered > kSeeds * 10);
  CHECK(rows > batches);
}

TEST_CASE("the same seed gives the same trace, another seed another") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Plan plan = Plan::draw(seed);
    CHECK(run(plan).trace_hash == run(plan).trace_hash);
  }
  CHECK(run(Plan::draw(1)).trace_hash != run(Plan::draw(2)).trace_hash);
}

TEST_CASE("one I/O loop and four hold the same") {
  for (uint64_t seed = 1000; seed < 1030; ++seed) {
    for (const size_t io_loops : {1, 4}) {
      Plan plan = Plan::draw(seed);
      plan.io_loops = io_loops;
      check(plan, run(plan));
    }
  }
}

TEST_CASE("without faults everybody is answered, in batches while the engine is busy") {
  Plan plan;
  plan.seed = 7;
  plan.clients = 64;
  plan.requests = 512;
  plan.service_a = milliseconds(5);
  plan.config = Plan::draw(7).config;
  plan.config.models[0].batch = {};
  plan.config.models[0].queue = {};
  plan.config.limits = {};
  const Summary summary = run(plan);
  check(plan, summary);
  CHECK(summary.answered >= 512);
  CHECK(summary.dropped == 0);
  CHECK(static_cast<double>(summary.rows) / static_cast<double>(summary.batches) > 8);
}

}  // namespace
}  // namespace sluice::sim
