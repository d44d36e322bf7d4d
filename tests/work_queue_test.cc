// SPDX-License-Identifier: Apache-2.0
#include "base/work_queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace sluice {
namespace {

TEST_CASE("work is taken in the order it was put, then nothing once the queue is closed") {
  WorkQueue<int> queue;
  queue.put(1);
  queue.put(2);
  queue.close();
  CHECK(queue.take() == 1);
  CHECK(queue.take() == 2);
  CHECK(!queue.take());
  CHECK(!queue.take());
}

TEST_CASE("who does not wait takes what there is") {
  WorkQueue<int> queue;
  CHECK(!queue.try_take());
  queue.put(1);
  queue.put(2);
  CHECK(queue.try_take() == 1);
  queue.close();
  CHECK(queue.try_take() == 2);
  CHECK(!queue.try_take());
}

TEST_CASE("what waits at the end can be taken back, and take() then gives nothing") {
  WorkQueue<int> queue;
  queue.put(1);
  queue.put(2);
  CHECK(queue.close_and_take_all() == std::deque<int>{1, 2});
  CHECK(!queue.take());
}

TEST_CASE("whatever many threads put, many threads take exactly once") {
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  WorkQueue<int> queue;
  std::atomic<int64_t> sum = 0;
  std::atomic<int> taken = 0;
  std::vector<std::thread> takers;
  for (int i = 0; i < kThreads; ++i) {
    takers.emplace_back([&] {
      while (const auto work = queue.take()) {
        sum += *work;
        ++taken;
      }
    });
  }
  std::vector<std::thread> putters;
  for (int i = 0; i < kThreads; ++i) {
    putters.emplace_back([&] {
      for (int work = 1; work <= kEach; ++work) queue.put(work);
    });
  }
  for (std::thread& thread : putters) thread.join();
  queue.close();
  for (std::thread& thread : takers) thread.join();
  CHECK(taken == kThreads * kEach);
  CHECK(sum == int64_t{kThreads} * kEach * (kEach + 1) / 2);
}

TEST_CASE("waiting for the end returns at the end, whatever is put meanwhile") {
  WorkQueue<int> queue;
  std::atomic<bool> ended = false;
  std::thread waiter([&] {
    queue.wait_closed(seconds(3600));
    ended = true;
  });
  for (int i = 0; i < 100; ++i) queue.put(i);
  CHECK(!ended);
  queue.close();
  waiter.join();
  CHECK(ended);
}

}  // namespace
}  // namespace sluice
