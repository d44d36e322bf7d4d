// SPDX-License-Identifier: Apache-2.0
// The core beside queueing theory. For one server that takes everything that waits whenever it is
// free, Poisson arrivals and a batch time of fixed + per_item * items, Inoue (2021, "Queueing
// analysis of GPU-based inference servers with dynamic batching") gives a closed upper bound of the
// mean latency that is close to the truth.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/prng.h"
#include "batcher/core.h"
#include "tests/core_harness.h"

namespace sluice {
namespace {

// S(b) = fixed + per_item * b, in seconds.
struct Curve {
  double fixed = 0.002;
  double per_item = 0.0001;
};

// The bound on the mean latency, in seconds, at `rate` arrivals per second.
double inoue_bound(Curve curve, double rate) {
  const double a = curve.per_item;
  const double t = curve.fixed;
  const double busy = rate * a;
  const double light =
      (a + t) / (2 * (1 - busy)) * (1 + 2 * rate * t + (1 - rate * t) / (1 + busy));
  const double heavy = 1.5 * t / (1 - busy) + a / 2 * (busy + 2) / (1 - busy * busy);
  return std::min(light, heavy);
}

// What came of `arrivals` Poisson arrivals of one row each, in virtual time.
struct Measured {
  double latency_mean = 0;     // seconds
  double queued_max_lone = 0;  // longest wait of a request that found the server idle
  double batch_mean = 0;
};

Measured simulate(Curve curve, double rate, int arrivals, uint64_t seed) {
  CoreOptions options = one_model();
  options.models[0].batch.items_max = 1'000'000;
  options.models[0].queue.items_max = 1'000'000;
  options.models[0].queue.tenant_items_max = 1'000'000;
  Core core(options);
  Prng prng(seed);
  const std::vector<Row> row(1);
  std::vector<Event> events;
  std::vector<Action> actions;
  std::optional<StartCall> running;
  Instant ends = kNever;
  Instant next = Instant{} + seconds(1);
  std::vector<Instant> arrived(static_cast<size_t>(arrivals) + 1);
  std::vector<bool> was_lone(static_cast<size_t>(arrivals) + 1);
  RequestId last = 0;
  Measured measured;
  int answered = 0;

  while (answered < arrivals) {
    const Instant now = std::min(next, ends);
    events.clear();
    if (now == ends) {
      events.emplace_back(CallDone{running->call,
                                   std::vector<Outcome>(running->rows.size(), Output{}),
                                   Failure::kFinal,
                                   {}});
      running.reset();
      ends = kNever;
    } else {
      was_lone[++last] = !running;
      arrived[last] = now;
      Request request;
      request.id = last;
      request.arrived = now;
      request.rows = row;
      events.emplace_back(Arrived{std::move(request)});
      next = last == static_cast<RequestId>(arrivals)
                 ? kNever
                 : now + from_seconds(-std::log(1 - prng.unit()) / rate);
    }
    actions.clear();
    core.step(now, events, actions);
    for (Action& action : actions) {
      if (auto* call = std::get_if<StartCall>(&action)) {
        running = std::move(*call);
        const auto items = static_cast<double>(running->rows.size());
        ends = now + from_seconds(curve.fixed + curve.per_item * items);
      } else if (auto* reply = std::get_if<Reply>(&action)) {
        if (!reply->outcomes.ok()) FAIL(reply->outcomes.error().message);
        ++answered;
        measured.latency_mean += (now - arrived[reply->request]).seconds() / arrivals;
        if (was_lone[reply->request]) {
          measured.queued_max_lone =
              std::max(measured.queued_max_lone, reply->timings.queued.seconds());
        }
      }
    }
  }
  measured.batch_mean = static_cast<double>(arrivals) / static_cast<double>(core.stats().calls);
  return measured;
}

// Between 0.2 and 0.8 of one item per batch time neither half of the bound is close, so no load is
// taken from there.
TEST_CASE("mean latency lies within 3 % of Inoue's bound from idle to 0.8 of the capacity") {
  for (const double rate : {20.0, 100.0, 1000.0, 2000.0, 4000.0, 8000.0}) {
    const Measured measured = simulate(Curve{}, rate, 20'000, 42);
    const double bound = inoue_bound(Curve{}, rate);
    INFO(rate, "/s: ", measured.latency_mean * 1e3, " ms, bound ", bound * 1e3, " ms, mean batch ",
         measured.batch_mean);
    CHECK(measured.latency_mean == doctest::Approx(bound).epsilon(0.03));
    CHECK(measured.latency_mean < bound * 1.005);  // a bound, but for the noise of the sample
  }
}

TEST_CASE("a request that finds the server idle is never delayed") {
  for (const double rate : {5.0, 100.0, 2000.0}) {
    CHECK(simulate(Curve{}, rate, 3'000, 7).queued_max_lone == 0);
  }
}

TEST_CASE("batches grow with the load by themselves") {
  double last = 0;
  for (const double rate : {100.0, 1000.0, 4000.0, 8000.0}) {
    const double batch = simulate(Curve{}, rate, 4'000, 7).batch_mean;
    CHECK(batch > last * 2);
    last = batch;
  }
}

}  // namespace
}  // namespace sluice
