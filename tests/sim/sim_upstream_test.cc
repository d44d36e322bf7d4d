// SPDX-License-Identifier: Apache-2.0
// The simulation's own way out: connections and names towards what lies outside of the loops.
#include "tests/sim/sim_upstream.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace sluice::sim {
namespace {

// One connection of a loop to an upstream, and what came of it as a log.
class Caller final : public StreamEvents {
 public:
  explicit Caller(SimLoop& loop) {
    pending_ = loop.connect({"10.0.0.1", 80}, [this](Result<std::unique_ptr<Stream>> result) {
      if (!result.ok()) {
        log += "failed: " + result.error().message + " ";
        return;
      }
      stream = std::move(result).value();
      stream->set_events(this);
      log += "connected ";
    });
  }
  void send(std::string_view text) {
    const Slice slice = Slice::copy_of(text);
    stream->write({&slice, 1});
  }
  void on_bytes(std::string_view bytes) override { received.append(bytes); }
  void on_end() override { log += "end "; }
  void on_drained() override { log += "drained "; }
  void on_broken() override { log += "broken "; }
  void give_up() { pending_.reset(); }

  std::unique_ptr<Stream> stream;
  std::string log;
  std::string received;

 private:
  std::unique_ptr<Pending> pending_;
};

void finish(SimWorld& world) {
  while (world.step()) {
  }
}

const std::string kPost = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

TEST_CASE("a loop reaches an upstream, asks and is answered, in whatever pieces") {
  for (uint64_t seed = 1; seed < 30; ++seed) {
    SimWorld world(seed);
    world.faults.one_byte = seed % 3 == 0 ? 1 : 0;
    SimLoop loop(world);
    SimUpstream upstream(world, "10.0.0.1", 80, [&](const SimRequest& request, SimReply reply) {
      CHECK(request.method == "POST");
      CHECK(request.target == "/a");
      CHECK(request.body == "abc");
      CHECK(*request.find("host") == "a");
      world.after(milliseconds(5), [reply] { reply.respond(200, "yes"); });
    });
    Caller caller(loop);
    finish(world);
    CHECK(caller.log == "connected ");
    caller.send(kPost);
    finish(world);
    CHECK(caller.log == "connected drained ");
    CHECK(caller.received == "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
    CHECK(upstream.connections_open() == 1);
    caller.stream.reset();
    finish(world);
    CHECK(upstream.connections_open() == 0);
    CHECK(upstream.violations().empty());
    CHECK(loop.streams_open() == 0);
  }
}

TEST_CASE("what an upstream does to a connection arrives as the real world would tell it") {
  SimWorld world(1);
  SimLoop loop(world);
  std::function<void(SimReply)> act;
  SimUpstream upstream(world, "10.0.0.1", 80,
                       [&](const SimRequest&, const SimReply& reply) { act(reply); });
  const auto ask = [&](Caller& caller) {
    finish(world);
    caller.send(kPost);
    finish(world);
  };
  SUBCASE("FIN after an answer") {
    act = [](const SimReply& reply) {
      reply.send("x");
      reply.close();
    };
    Caller caller(loop);
    ask(caller);
    CHECK(caller.received == "x");
    CHECK(caller.log == "connected drained end ");
  }
  SUBCASE("RST after a part") {
    act = [](const SimReply& reply) {
      reply.send("HTTP/1.1 2");
      reply.reset();
      reply.send("ignored");
    };
    Caller caller(loop);
    ask(caller);
    CHECK(caller.received == "HTTP/1.1 2");
    CHECK(caller.log == "connected drained broken ");
    caller.send("more");  // does nothing
    finish(world);
    CHECK(caller.log == "connected drained broken ");
  }
  SUBCASE("refused, and there again later") {
    upstream.go_down();
    Caller refused(loop);
    finish(world);
    CHECK(refused.log == "failed: connection refused ");
    upstream.come_up();
    Caller caller(loop);
    finish(world);
    CHECK(caller.log == "connected ");
    upstream.go_down();
    finish(world);
    CHECK(caller.log == "connected broken ");
  }
  SUBCASE("never answered, or given up") {
    upstream.faults.ignore = 1;
    Caller ignored(loop);
    finish(world);
    CHECK(ignored.log.empty());
    upstream.faults.ignore = 0;
    Caller caller(loop);
    caller.give_up();
    finish(world);
    CHECK(caller.log.empty());
    CHECK(upstream.connections() == 1);
    CHECK(upstream.connections_open() == 0);
  }
  SUBCASE("a reader that stops is not given bytes, and has them later") {
    act = [](const SimReply& reply) { reply.send("abc"); };
    Caller caller(loop);
    finish(world);
    caller.stream->read(false);
    ask(caller);
    CHECK(caller.received.empty());
    caller.stream->read(true);
    finish(world);
    CHECK(caller.received == "abc");
  }
}

TEST_CASE("names resolve late, in order, or not at all; what is given up stays silent") {
  SimWorld world(1);
  SimLoop loop(world);
  world.names["two"] = {.addresses = {"10.0.0.1", "::1"}, .after = milliseconds(3)};
  std::vector<std::string> got;
  const auto keep = [&](const Result<std::vector<std::string>>& result) {
    if (result.ok()) got = result.value();
    if (!result.ok()) got = {result.error().message};
  };
  const Instant begin = world.now();
  const auto found = loop.resolve("two", keep);
  finish(world);
  CHECK(got == std::vector<std::string>{"10.0.0.1", "::1"});
  CHECK(world.now() - begin >= milliseconds(3));
  const auto missing = loop.resolve("none", keep);
  finish(world);
  CHECK(got == std::vector<std::string>{"no address for none"});
  got.clear();
  loop.resolve("two", keep).reset();
  finish(world);
  CHECK(got.empty());
  CHECK(world.names_asked == 3);
}

}  // namespace
}  // namespace sluice::sim
