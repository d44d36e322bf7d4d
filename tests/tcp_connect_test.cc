// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/uv_world.h"

namespace sluice {
namespace {

// The connecting side: what it was told, and what it hears then.
struct Dialled final : StreamEvents {
  std::unique_ptr<Pending> pending;
  std::unique_ptr<Stream> stream;
  std::optional<Error> error;
  std::string bytes;
  int ends = 0;
  std::function<void()> on_report = [] {};

  void connect(UvLoop& loop, const Address& to) {
    pending = loop.connect(to, [this](Result<std::unique_ptr<Stream>> made) {
      if (made.ok()) {
        stream = std::move(made).value();
        stream->set_events(this);
      } else {
        error = made.error();
      }
      on_report();
    });
    CHECK(pending != nullptr);
    CHECK(stream == nullptr);
    CHECK(!error);
  }
  void on_bytes(std::string_view some) override { bytes += some; }
  void on_end() override { ++ends; }
  void on_drained() override {}
  void on_broken() override { FAIL("broken"); }
};

TEST_CASE("a connection that was made is a stream like those accepted, both ways") {
  for (const std::string host : {"127.0.0.1", "::1"}) {
    CAPTURE(host);
    World world;
    Server server(world.loop, {host, 0});
    Dialled client;
    client.on_report = [&] {
      client.pending.reset();
      const Slice part = Slice::copy_of("question");
      client.stream->write({&part, 1});
      client.stream->shut_down();
    };
    server.on_end = [&](auto& connection) {
      CHECK(connection.bytes == "question");
      connection.write("answer");
      connection.stream->shut_down();
    };
    client.connect(world.loop, server.listener->address());
    world.loop.on_turn([&] {
      if (client.ends > 0) world.loop.stop();
    });
    world.loop.run();
    CHECK(client.bytes == "answer");
    const std::string port = std::to_string(server.listener->address().port);
    CHECK(client.stream->peer() == (host == "::1" ? "[::1]:" : "127.0.0.1:") + port);
    client.stream.reset();
    server.connections.clear();
  }
}

TEST_CASE(
    "a port where nobody listens, and what is no address, are reported later, with a reason") {
  World world;
  Address nobody;
  {
    Server server(world.loop);
    nobody = server.listener->address();
  }
  const std::vector<std::pair<Address, std::string>> cases = {
      {nobody, "Connection refused"}, {{"model.example", 80}, "model.example"}};
  for (const auto& [to, reason] : cases) {
    CAPTURE(reason);
    Dialled client;
    client.on_report = [&] {
      client.pending.reset();
      world.loop.stop();
    };
    client.connect(world.loop, to);
    world.loop.run();
    CHECK(client.stream == nullptr);
    REQUIRE(client.error);
    CHECK(client.error->code == Code::kUnavailable);
    CHECK(client.error->message.find(reason) != std::string::npos);
  }
}

TEST_CASE("what is cancelled reports nothing, and its connection is closed") {
  World world;
  Server server(world.loop);
  Dialled client;
  client.on_report = [] { FAIL("cancelled"); };
  client.connect(world.loop, server.listener->address());
  server.on_end = [&](auto&) { world.loop.stop(); };
  server.on_broken = [&](auto&) { world.loop.stop(); };
  client.pending.reset();
  world.loop.run();
  server.connections.clear();
  auto name = world.loop.resolve("localhost", [](auto) { FAIL("cancelled"); });
  name.reset();
  // The loop ends here with the look-up perhaps still under way.
}

TEST_CASE("localhost is resolved to loopback literals, each once; unknown names have a reason") {
  World world;
  std::vector<std::string> addresses;
  std::string error;
  auto known = world.loop.resolve("localhost", [&](auto found) {
    REQUIRE(found.ok());
    addresses = std::move(found).value();
    world.loop.stop();
  });
  CHECK(addresses.empty());
  world.loop.run();
  REQUIRE(!addresses.empty());
  for (const std::string& address : addresses) {
    CHECK((address == "127.0.0.1" || address == "::1"));
    CHECK(std::ranges::count(addresses, address) == 1);
  }
  const std::string long_label(70, 'a');
  for (const std::string& host : {std::string("nobody.invalid"), long_label + ".invalid"}) {
    auto unknown = world.loop.resolve(host, [&](auto found) {
      REQUIRE(!found.ok());
      CHECK(found.error().code == Code::kUnavailable);
      error = found.error().message;
      world.loop.stop();
    });
    world.loop.run();
    CHECK(error.starts_with("cannot resolve " + host + ": "));
  }
}

}  // namespace
}  // namespace sluice
