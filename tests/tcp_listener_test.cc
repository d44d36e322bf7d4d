// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/uv_world.h"

namespace sluice {
namespace {

TEST_CASE("512 pending connections are accepted within three turns") {
  World world;
  Server server(world.loop);
  std::vector<Client> clients;
  for (int i = 0; i < 512; ++i) clients.push_back(server.client());
  server.on_new = [&](auto&) {
    if (server.connections.size() == 512) world.loop.stop();
  };
  world.loop.run();
  CHECK(server.connections.size() == 512);
  CHECK(world.loop.turns() <= 3);
  CHECK(server.connections[0]->stream->peer().starts_with("127.0.0.1:"));
  server.connections.clear();
}

TEST_CASE("a listener may be destroyed while it accepts, and refuses from then on") {
  World world;
  Server server(world.loop);
  const Address address = server.listener->address();
  Client first = server.client();
  Client second = server.client();
  server.on_new = [&](auto&) {
    server.listener.reset();
    world.loop.stop();
  };
  world.loop.run();
  CHECK(server.connections.size() == 1);
  CHECK(second.receive().empty());
  server.connections.clear();
}

// Lowers the limit of descriptors, and raises it again.
class DescriptorLimit {
 public:
  DescriptorLimit() { REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0); }
  ~DescriptorLimit() { restore(); }
  void lower_to(rlim_t limit) {
    const rlimit lower = {limit, before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lower) == 0);
  }
  void restore() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

TEST_CASE("without descriptors the listener rests, says so, and goes on when there are some") {
  World world;
  Server server(world.loop);
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(server.client());
  DescriptorLimit limit;
  limit.lower_to(static_cast<rlim_t>(clients.back().fd() + 4));
  uint64_t polls = 0;
  world.on_log = [&] {
    CHECK(server.connections.size() < 20);
    polls = world.loop.polls();
    limit.restore();
  };
  server.on_new = [&](auto&) {
    if (server.connections.size() == 20) world.loop.stop();
  };
  world.loop.run();
  REQUIRE(world.logged.size() == 1);
  CHECK(world.logged[0].find("Too many open files") != std::string::npos);
  CHECK(server.connections.size() == 20);
  CHECK(world.loop.polls() - polls <= 5);
  server.connections.clear();
}

TEST_CASE("addresses: literals of both families, and clear refusals of others") {
  World world;
  Server v4(world.loop, {"127.0.0.1", 0});
  CHECK(v4.listener->address().host == "127.0.0.1");
  CHECK(v4.listener->address().port != 0);
  const auto v6 = world.loop.listen({"::1", 0}, false, v4);
  if (v6.ok()) {
    CHECK(v6.value()->address().host == "::1");
  } else {
    // A system without IPv6 says so.
    CHECK(v6.error().code == Code::kUnavailable);
  }
  const auto name = world.loop.listen({"localhost", 0}, false, v4);
  REQUIRE_FALSE(name.ok());
  CHECK(name.error().code == Code::kInvalid);
  CHECK(name.error().message == "cannot listen on 'localhost': it is not an IPv4 or IPv6 address");
  const auto taken = world.loop.listen(v4.listener->address(), false, v4);
  REQUIRE_FALSE(taken.ok());
  CHECK(taken.error().code == Code::kUnavailable);
  CHECK(taken.error().message.ends_with(": Address already in use"));
}

TEST_CASE("two loops may share a port, and both get connections") {
  World one;
  World two;
  Server first(one.loop, {});
  first.listener.reset();
  auto shared = one.loop.listen({}, true, first);
  REQUIRE(shared.ok());
  Server second(two.loop, {});
  auto again = two.loop.listen(shared.value()->address(), true, second);
  REQUIRE(again.ok());
  std::vector<Client> clients;
  for (int i = 0; i < 64; ++i) clients.emplace_back(shared.value()->address());
  std::atomic<int> accepted = 0;
  const auto count = [&](auto&) {
    if (++accepted < 64) return;
    one.loop.stop();
    two.loop.stop();
  };
  first.on_new = count;
  second.on_new = count;
  std::thread other([&] { two.loop.run(); });
  one.loop.run();
  other.join();
  // The chance that one of them gets none is two in two to the power of 64.
  CHECK(first.connections.size() + second.connections.size() == 64);
  CHECK(!first.connections.empty());
  CHECK(!second.connections.empty());
  first.connections.clear();
  second.connections.clear();
}

}  // namespace
}  // namespace sluice
