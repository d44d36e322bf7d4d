// SPDX-License-Identifier: Apache-2.0
#include "gateway/timer_heap.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "base/prng.h"

namespace sluice {
namespace {

TEST_CASE("an empty heap is due never") {
  TimerHeap heap;
  CHECK(heap.earliest() == kNever);
  CHECK(heap.take_due(kNever, heap.mark()) == nullptr);
}

TEST_CASE(
    "equal deadlines come out in the order they were armed, a nanosecond apart in that order") {
  TimerHeap heap;
  TimerHeap::Node nodes[4];
  heap.arm(nodes[0], {11});
  heap.arm(nodes[1], {10});
  heap.arm(nodes[2], {10});
  heap.arm(nodes[3], {10});
  heap.arm(nodes[1], {10});  // armed again: now the last of the equal ones
  CHECK(heap.take_due({9}, heap.mark()) == nullptr);
  CHECK(heap.take_due({10}, heap.mark()) == &nodes[2]);
  CHECK(heap.take_due({10}, heap.mark()) == &nodes[3]);
  CHECK(heap.take_due({10}, heap.mark()) == &nodes[1]);
  CHECK(heap.take_due({10}, heap.mark()) == nullptr);
  CHECK(heap.earliest() == Instant{11});
  heap.disarm(nodes[0]);
  CHECK_FALSE(nodes[0].armed());
}

TEST_CASE("what is armed after the mark waits, even when it is due") {
  TimerHeap heap;
  TimerHeap::Node early;
  TimerHeap::Node late;
  heap.arm(early, {5});
  const uint64_t mark = heap.mark();
  heap.arm(late, {5});
  CHECK(heap.take_due({9}, mark) == &early);
  heap.arm(early, {6});
  CHECK(heap.take_due({9}, mark) == nullptr);
  CHECK(heap.take_due({9}, heap.mark()) == &late);
  CHECK(heap.take_due({9}, heap.mark()) == &early);
}

TEST_CASE("arming for never takes a node out") {
  TimerHeap heap;
  TimerHeap::Node node;
  heap.arm(node, {5});
  heap.arm(node, kNever);
  CHECK_FALSE(node.armed());
  CHECK(heap.size() == 0);
}

TEST_CASE("any sequence of arming, moving, disarming and taking agrees with a sorted list") {
  Prng prng(1);
  TimerHeap heap;
  std::vector<std::unique_ptr<TimerHeap::Node>> nodes;
  for (int i = 0; i < 50; ++i) nodes.push_back(std::make_unique<TimerHeap::Node>());
  using Key = std::pair<int64_t, int>;  // deadline, when armed
  std::map<Key, TimerHeap::Node*> model;
  const auto drop = [&](TimerHeap::Node* node) {
    std::erase_if(model, [&](const auto& item) { return item.second == node; });
  };
  for (int step = 0; step < 20'000; ++step) {
    TimerHeap::Node* node = nodes[static_cast<size_t>(prng.between(0, 49))].get();
    const int64_t when = prng.between(0, 99);
    switch (prng.between(0, 3)) {
      case 0:
        drop(node);
        heap.disarm(*node);
        break;
      case 1: {
        TimerHeap::Node* taken = heap.take_due({when}, heap.mark());
        const bool due = !model.empty() && model.begin()->first.first <= when;
        REQUIRE(taken == (due ? model.begin()->second : nullptr));
        if (due) model.erase(model.begin());
        break;
      }
      default:
        drop(node);
        model[{when, step}] = node;
        heap.arm(*node, {when});
    }
    REQUIRE(heap.size() == model.size());
    REQUIRE(heap.earliest() == (model.empty() ? kNever : Instant{model.begin()->first.first}));
  }
}

}  // namespace
}  // namespace sluice
