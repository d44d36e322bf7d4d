// SPDX-License-Identifier: Apache-2.0
#include "batcher/service.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/prng.h"
#include "batcher/slots.h"

namespace sluice {
namespace {

// Feeds `count` batches of fixed + per_unit * units, with noise of up to `noise` times that, at
// 100 per second from `now` on.
void feed(ServiceModel& model, Instant& now, int count, double fixed, double per_unit,
          double noise = 0, uint64_t seed = 1) {
  Prng prng(seed);
  for (int i = 0; i < count; ++i) {
    const auto units = static_cast<double>(prng.between(1, 64));
    const double took = (fixed + per_unit * units) * (1 + noise * prng.unit());
    now = now + milliseconds(10);
    model.learn(now, units, from_seconds(took));
  }
}

double mean_of(const ServiceModel& model, Instant now, double units) {
  const auto mean = model.mean(now, units);
  REQUIRE(mean);
  return mean->seconds();
}

TEST_CASE("a straight curve is learnt exactly") {
  ServiceModel model;
  Instant now;
  feed(model, now, 50, 0.002, 0.0001);
  CHECK(model.fixed() == doctest::Approx(0.002).epsilon(0.01));
  CHECK(model.per_unit() == doctest::Approx(0.0001).epsilon(0.01));
  CHECK(mean_of(model, now, 200) == doctest::Approx(0.022).epsilon(0.01));
  CHECK(model.p99(now, 200)->seconds() == doctest::Approx(0.022).epsilon(0.01));
}

TEST_CASE("a noisy curve is learnt, and the p99 lies above all but one in a hundred") {
  ServiceModel model;
  Instant now;
  feed(model, now, 2000, 0.010, 0.0005, 0.2, 3);
  CHECK(mean_of(model, now, 32) == doctest::Approx(0.0286).epsilon(0.05));
  // Fresh samples of the same kind: 0.2 % to 3 % may lie above.
  Prng prng(9);
  int above = 0;
  constexpr int kFresh = 10'000;
  for (int i = 0; i < kFresh; ++i) {
    const auto units = static_cast<double>(prng.between(1, 64));
    const double took = (0.010 + 0.0005 * units) * (1 + 0.2 * prng.unit());
    if (took > model.p99(now, units)->seconds()) ++above;
  }
  CHECK(above > kFresh / 500);
  CHECK(above < kFresh * 3 / 100);
}

TEST_CASE("a backend that changes is learnt anew within some hundred batches") {
  ServiceModel model;
  Instant now;
  feed(model, now, 500, 0.002, 0.0001);
  feed(model, now, 300, 0.020, 0.0010);
  CHECK(mean_of(model, now, 32) == doctest::Approx(0.052).epsilon(0.02));
  CHECK(model.p99(now, 32)->seconds() == doctest::Approx(0.052).epsilon(0.02));
}

TEST_CASE("batches that are all alike predict themselves and never more for others") {
  ServiceModel model;
  Instant now;
  for (int i = 0; i < 20'000; ++i) {
    now = now + milliseconds(1);
    model.learn(now, 64, milliseconds(32));
  }
  CHECK(mean_of(model, now, 64) == doctest::Approx(0.032));
  CHECK(mean_of(model, now, 1) == doctest::Approx(0.0005));
  CHECK(mean_of(model, now, 640) == doctest::Approx(0.032));
}

TEST_CASE("no prediction is negative, whatever was seen") {
  ServiceModel model;
  Instant now;
  // Larger batches are faster here, and later a line would cut zero.
  for (int i = 0; i < 20; ++i) model.learn(now, 1 + i % 10, milliseconds(20 - i % 10));
  CHECK(mean_of(model, now, 1000) >= 0);
  for (int i = 0; i < 300; ++i) model.learn(now, 50 + i % 10, milliseconds(1 + 10 * (i % 10)));
  CHECK(mean_of(model, now, 0) >= 0);
  model.learn(now, 1, milliseconds(-5));
  CHECK(model.p99(now, 0)->ns >= 0);
}

TEST_CASE("before four batches nothing is claimed") {
  ServiceModel model;
  Instant now;
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(model.mean(now, 1));
    model.learn(now, 1, seconds(5));
  }
  CHECK_FALSE(model.p99(now, 1));
  model.learn(now, 1, seconds(5));
  CHECK(model.p99(now, 1) == seconds(5));
}

TEST_CASE("without samples the prediction halves every ten seconds") {
  ServiceModel model;
  Instant now;
  for (int i = 0; i < 10; ++i) model.learn(now, 1, seconds(8));
  CHECK(mean_of(model, now + seconds(10), 1) == doctest::Approx(4));
  CHECK(mean_of(model, now + seconds(30), 1) == doctest::Approx(1));
  CHECK(mean_of(model, now + seconds(100'000), 1) == 0);
  CHECK(model.p99(now + seconds(20), 1)->seconds() == doctest::Approx(2));
  model.learn(now + seconds(20), 1, seconds(8));
  CHECK(mean_of(model, now + seconds(20), 1) == doctest::Approx(8));
}

TEST_CASE("the drain rate counts only time in which rows wait") {
  DrainRate rate;
  Instant now;
  CHECK_FALSE(rate.rate());
  rate.note(now, 0, true);
  for (int i = 0; i < 10; ++i) {
    now = now + milliseconds(100);
    rate.note(now, 20, true);
  }
  CHECK(*rate.rate() == doctest::Approx(200));
  rate.note(now, 0, false);
  now = now + seconds(3600);
  rate.note(now, 5, true);  // came and left in an idle hour: says nothing
  CHECK(*rate.rate() == doctest::Approx(200));
}

TEST_CASE("the drain rate follows a change within half a minute of waiting") {
  DrainRate rate;
  Instant now;
  rate.note(now, 0, true);
  for (int i = 0; i < 600; ++i) rate.note(now = now + milliseconds(100), 20, true);
  for (int i = 0; i < 400; ++i) rate.note(now = now + milliseconds(100), 2, true);
  CHECK(*rate.rate() < 40);
  CHECK(*rate.rate() > 20);
}

TEST_CASE("Retry-After is the time to drain, in whole seconds from 1 to 60") {
  CHECK(retry_after(1000, std::nullopt) == seconds(1));
  CHECK(retry_after(0, 100.0) == seconds(1));
  CHECK(retry_after(150, 100.0) == seconds(2));
  CHECK(retry_after(200, 100.0) == seconds(2));
  CHECK(retry_after(1000, 100.0) == seconds(10));
  CHECK(retry_after(1e9, 1.0) == seconds(60));
}

TEST_CASE("the backend with the smallest part of its slots in use is chosen") {
  const std::vector<BackendOptions> backends = {{"a", 1}, {"b", 4}, {"c", 2}};
  const std::vector<BackendIndex> all = {0, 1, 2};
  Slots slots(backends);
  std::vector<BackendIndex> order;
  while (const auto backend = slots.choose(all, Instant{})) {
    order.push_back(*backend);
    slots.occupy(*backend, order.size(), Instant{});
  }
  CHECK(order == std::vector<BackendIndex>{0, 1, 2, 1, 1, 2, 1});
  CHECK(slots.in_use() == 7);
  slots.release(2);
  CHECK(slots.choose(all, Instant{}) == 2);
  CHECK_FALSE(slots.choose(std::vector<BackendIndex>{0, 1}, Instant{}));
}

TEST_CASE("a cold backend gets no calls and is asked to wake once, if no other is warm") {
  const std::vector<BackendOptions> backends = {{"a", 1}, {"b", 1}};
  const std::vector<BackendIndex> all = {0, 1};
  Slots slots(backends);
  slots.set_warm(0, false);
  CHECK(slots.choose(all, Instant{}) == 1);
  CHECK_FALSE(slots.wake(all));
  slots.set_warm(1, false);
  CHECK_FALSE(slots.choose(all, Instant{}));
  CHECK(slots.wake(all) == 0);
  CHECK_FALSE(slots.wake(all));
  slots.set_warm(0, false);  // it tried and failed
  CHECK(slots.wake(all) == 0);
  slots.set_warm(0, true);
  CHECK_FALSE(slots.wake(all));
  CHECK(slots.choose(all, Instant{}) == 0);
}

}  // namespace
}  // namespace sluice
