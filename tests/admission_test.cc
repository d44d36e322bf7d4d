// SPDX-License-Identifier: Apache-2.0
#include "batcher/admission.h"

#include <doctest/doctest.h>

namespace sluice {
namespace {

// A request that knocks at an empty house; a test furnishes it.
struct Door {
  Situation situation;
  Weight weight{.items = 1, .bytes = 10, .tokens = 0};
  std::optional<Instant> deadline;
  QueueLimits limits{.items_max = 100, .bytes_max = 1000, .tenant_items_max = 50};
  CoreOptions options;

  Door() {
    situation.now = Instant{} + seconds(100);
    situation.retry_after = seconds(7);
    options.queued_bytes_max = 5000;
    options.keys_max = 8;
    options.tenants_max = 4;
  }
  std::optional<Refused> knock() const {
    return refuse(situation, weight, deadline, limits, options);
  }
  // Whether it is refused as full, with the time to come back.
  bool full() const {
    const auto refused = knock();
    return refused && refused->why == Refusal::kFull && refused->error.code == Code::kOverloaded &&
           refused->error.retry_after == seconds(7) && !refused->error.message.empty();
  }
};

TEST_CASE("an empty house lets anyone in") { CHECK_FALSE(Door().knock()); }

TEST_CASE("each limit lets in up to itself and not one more") {
  Door door;
  SUBCASE("items of the model") {
    door.situation.waiting.items = 99;
    CHECK_FALSE(door.knock());
    door.weight.items = 2;
    CHECK(door.full());
  }
  SUBCASE("bytes of the model") {
    door.situation.waiting.bytes = 990;
    CHECK_FALSE(door.knock());
    door.weight.bytes = 11;
    CHECK(door.full());
  }
  SUBCASE("items of the tenant") {
    door.situation.waiting.items = 60;
    door.situation.tenant_items = 49;
    CHECK_FALSE(door.knock());
    door.situation.tenant_items = 50;
    CHECK(door.full());
  }
  SUBCASE("bytes of the process") {
    door.situation.held_bytes = 4990;
    CHECK_FALSE(door.knock());
    door.situation.held_bytes = 4991;
    CHECK(door.full());
  }
  SUBCASE("keys") {
    door.situation.keys = 7;
    CHECK_FALSE(door.knock());
    door.situation.keys = 8;
    CHECK(door.full());
    door.situation.key_waits = true;
    CHECK_FALSE(door.knock());
  }
  SUBCASE("tenants") {
    door.situation.tenants = 3;
    CHECK_FALSE(door.knock());
    door.situation.tenants = 4;
    CHECK(door.full());
    door.situation.tenant_waits = true;
    CHECK_FALSE(door.knock());
  }
}

TEST_CASE("a request larger than the queue is let in alone and only alone") {
  Door door;
  door.weight.items = 101;
  CHECK_FALSE(door.knock());
  door.situation.waiting.items = 1;
  CHECK(door.full());
}

TEST_CASE("a request that could never be held is told to be smaller, not to come back") {
  Door door;
  door.weight.bytes = 5001;
  const auto refused = door.knock();
  REQUIRE(refused);
  CHECK(refused->error.code == Code::kTooLarge);
}

TEST_CASE("draining refuses everyone with 503 before anything else") {
  Door door;
  door.situation.draining = true;
  door.situation.waiting.items = 1000;
  door.deadline = Instant{};
  const auto refused = door.knock();
  REQUIRE(refused);
  CHECK(refused->why == Refusal::kDraining);
  CHECK(refused->error.code == Code::kUnavailable);
}

TEST_CASE("a deadline that is past or nearer than the p99 of the model is refused at once") {
  Door door;
  const auto hopeless = [&door] {
    const auto refused = door.knock();
    return refused && refused->why == Refusal::kHopeless && refused->error.code == Code::kTimeout;
  };
  door.deadline = door.situation.now;
  CHECK(hopeless());
  door.deadline = door.situation.now + milliseconds(10);
  CHECK_FALSE(door.knock());  // nothing is known of the model yet
  door.situation.p99 = milliseconds(10);
  CHECK_FALSE(door.knock());
  door.situation.p99 = milliseconds(10) + nanoseconds(1);
  CHECK(hopeless());
  door.deadline.reset();
  CHECK_FALSE(door.knock());
}

}  // namespace
}  // namespace sluice
