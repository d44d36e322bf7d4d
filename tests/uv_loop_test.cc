// SPDX-License-Identifier: Apache-2.0
#include "gateway/uv_loop.h"

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mailbox.h"
#include "tests/uv_world.h"

namespace sluice {
namespace {

TEST_CASE("timers run in order of deadline to the nanosecond, and never early") {
  World world;
  const Instant start = world.loop.now();
  std::vector<int> order;
  std::vector<std::unique_ptr<Timer>> timers;
  const int64_t delays_ns[] = {3'000'000, 1'000'001, 1'000'000, 0, 1'000'000, 2'000'000, -5};
  for (int i = 0; i < 7; ++i) {
    const Instant when = start + nanoseconds(delays_ns[i]);
    timers.push_back(world.loop.timer([&, i, when] {
      CHECK(world.loop.now() >= when);
      CHECK(UvLoop::clock() >= when);
      order.push_back(i);
      if (order.size() == 7) world.loop.stop();
    }));
    timers.back()->again(when);
  }
  world.loop.run();
  CHECK(order == std::vector<int>{6, 3, 2, 4, 1, 5, 0});
}

TEST_CASE("a timer that was cancelled, destroyed or moved does not run at its old deadline") {
  World world;
  const Instant start = world.loop.now();
  std::string ran;
  auto cancelled = world.loop.timer([&] { ran += 'c'; });
  auto destroyed = world.loop.timer([&] { ran += 'd'; });
  auto moved = world.loop.timer([&] {
    CHECK(world.loop.now() >= start + milliseconds(3));
    ran += 'm';
  });
  auto last = world.loop.timer([&] {
    ran += 'l';
    world.loop.stop();
  });
  for (Timer* timer : {cancelled.get(), destroyed.get(), moved.get()}) {
    timer->again(start + milliseconds(1));
  }
  last->again(start + milliseconds(4));
  moved->again(start + milliseconds(3));
  cancelled->cancel();
  destroyed.reset();
  world.loop.run();
  CHECK(ran == "ml");
}

TEST_CASE("a timer may arm, cancel and destroy itself and others from its callback") {
  World world;
  int runs = 0;
  std::unique_ptr<Timer> other = world.loop.timer([&] { FAIL_CHECK("was destroyed"); });
  std::unique_ptr<Timer> self;
  const std::string captured = "long enough that it is not kept inside of the function object";
  self = world.loop.timer([&, captured] {
    if (++runs < 3) return self->again(world.loop.now());
    other.reset();
    self.reset();
    CHECK(captured.size() > 20);
    world.loop.stop();
  });
  other->again(world.loop.now() + seconds(3600));
  self->again(world.loop.now());
  world.loop.run();
  CHECK(runs == 3);
}

TEST_CASE("a timer that arms itself for now lets sockets have their turn") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  auto busy = world.loop.timer([] {});
  busy = world.loop.timer([&] { busy->again(world.loop.now()); });
  busy->again(world.loop.now());
  server.on_new = [&](auto&) { world.loop.stop(); };
  world.loop.run();
  CHECK(server.connections.size() == 1);
  server.connections.clear();
}

TEST_CASE("wake from other threads loses nothing in 100,000 posts") {
  World world;
  Mailbox<int> mailbox([&] { world.loop.wake(); });
  constexpr int kEach = 25'000;
  int64_t sum = 0;
  int taken = 0;
  world.loop.on_wake([&] {
    for (int message = 0; mailbox.take(message); ++taken) sum += message;
    if (taken == 4 * kEach) world.loop.stop();
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 1; i <= kEach; ++i) mailbox.post(i);
    });
  }
  world.loop.run();
  for (std::thread& thread : threads) thread.join();
  CHECK(taken == 4 * kEach);
  CHECK(sum == 4ll * kEach * (kEach + 1) / 2);
}

TEST_CASE("each single wake from another thread is answered: ping-pong") {
  World world;
  std::atomic<int> seen = 0;
  world.loop.on_wake([&] {
    ++seen;
    seen.notify_one();
    if (seen == 2000) world.loop.stop();
  });
  std::thread other([&] {
    for (int i = 0; i < 2000; ++i) {
      world.loop.wake();
      seen.wait(i);
    }
  });
  world.loop.run();
  other.join();
  CHECK(seen == 2000);
}

TEST_CASE("the loop's own wake costs a turn each and no return from waiting") {
  World world;
  int turns = 0;
  std::string order;
  world.loop.on_wake([&] { order += 'w'; });
  world.loop.on_turn([&] {
    order += '|';
    if (++turns < 3) world.loop.wake();
  });
  auto first = world.loop.timer([&] {
    order += 't';
    world.loop.wake();
  });
  auto last = world.loop.timer([&] { world.loop.stop(); });
  first->again(world.loop.now());
  last->again(world.loop.now() + milliseconds(5));
  const uint64_t polls = world.loop.polls();
  world.loop.run();
  CHECK(order == "tw|w|w||");
  CHECK(world.loop.polls() - polls == 2);
}

TEST_CASE("a hundred wakes of the loop by itself, one after another, are all answered") {
  World world;
  int wakes = 0;
  world.loop.on_wake([&] { ++wakes; });
  world.loop.on_turn([&] { wakes < 100 ? world.loop.wake() : world.loop.stop(); });
  world.loop.wake();
  world.loop.run();
  CHECK(wakes == 100);
}

TEST_CASE("a loop that wakes itself without end still looks at its sockets") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  world.loop.on_turn([&] { world.loop.wake(); });
  world.loop.wake();
  client.send("x");
  server.on_bytes = [&](auto&) { world.loop.stop(); };
  world.loop.run();
  CHECK(server.connections[0]->bytes == "x");
  server.connections.clear();
}

TEST_CASE("the turn handler runs once, after all sockets, timers and the wake handler") {
  World world;
  Server server(world.loop);
  std::vector<Client> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(server.client());
  std::string order;
  auto timer = world.loop.timer([&] { order += 't'; });
  server.on_bytes = [&](auto&) {
    order += 's';
    world.loop.wake();
  };
  world.loop.on_wake([&] { order += 'w'; });
  world.loop.on_turn([&] {
    order += '|';
    if (order.size() > 5) return world.loop.stop();
    if (server.connections.size() < 3) return;
    // Everything is made to happen while the loop does not look.
    order.clear();
    for (Client& client : clients) client.send("x");
    timer->again(world.loop.now() + nanoseconds(1));
    while (UvLoop::clock() <= world.loop.now() + nanoseconds(1)) {
    }
  });
  world.loop.run();
  CHECK(order == "ssstw|");
  server.connections.clear();
}

TEST_CASE("an idle loop with connections and a far timer does not wake up") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  auto far = world.loop.timer([] { FAIL_CHECK("an hour early"); });
  far->again(world.loop.now() + seconds(3600));
  uint64_t turns = 0;
  uint64_t polls = 0;
  server.on_new = [&](auto&) { world.loop.stop(); };
  world.loop.run();
  auto end = world.loop.timer([&] {
    turns = world.loop.turns();
    polls = world.loop.polls();
    world.loop.stop();
  });
  const uint64_t turns_before = world.loop.turns();
  const uint64_t polls_before = world.loop.polls();
  end->again(UvLoop::clock() + milliseconds(50));
  world.loop.run();
  CHECK(turns == turns_before);
  // run() itself, perhaps the stop() before, and the timer.
  CHECK(polls - polls_before <= 3);
  server.connections.clear();
}

TEST_CASE("moving a deadline back again and again costs one wake-up, not one each") {
  World world;
  auto limit = world.loop.timer([] { FAIL_CHECK("was moved"); });
  int left = 1000;
  auto busy = world.loop.timer([] {});
  busy = world.loop.timer([&] {
    limit->again(world.loop.now() + seconds(3600));
    if (--left > 0) return busy->again(world.loop.now() + microseconds(1));
    world.loop.stop();
  });
  limit->again(world.loop.now() + microseconds(500));
  busy->again(world.loop.now());
  limit->again(world.loop.now() + seconds(3600));
  const uint64_t polls = world.loop.polls();
  world.loop.run();
  CHECK(world.loop.polls() - polls <= 1005);
}

TEST_CASE("a signal runs its callback on the loop, in a turn") {
  World world;
  int signals = 0;
  int turns = 0;
  world.loop.on_signal(SIGUSR1, [&] { ++signals; });
  world.loop.on_turn([&] {
    ++turns;
    world.loop.stop();
  });
  raise(SIGUSR1);
  world.loop.run();
  CHECK(signals == 1);
  CHECK(turns == 1);
}

TEST_CASE("stop before run returns at once, and the loop may be run again") {
  World world;
  world.loop.stop();
  world.loop.run();
  int ran = 0;
  auto timer = world.loop.timer([&] {
    ++ran;
    world.loop.stop();
  });
  timer->again(world.loop.now());
  world.loop.run();
  CHECK(ran == 1);
}

TEST_CASE("the time stands still in a turn, and the wall clock is this century's") {
  World world;
  auto timer = world.loop.timer([&] {
    const Instant now = world.loop.now();
    while (UvLoop::clock() <= now + microseconds(10)) {
    }
    CHECK(world.loop.now() == now);
    CHECK(world.loop.unix_seconds() > 1'700'000'000);
    world.loop.stop();
  });
  timer->again(world.loop.now());
  world.loop.run();
}

}  // namespace
}  // namespace sluice
