// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/uv_world.h"

namespace sluice {
namespace {

TEST_CASE("an answer from the turn handler goes out in that turn, all parts in one piece") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  client.send("hello");
  Server::Connection* asking = nullptr;
  server.on_bytes = [&](auto& connection) {
    asking = &connection;
    connection.write("one ");
    CHECK(connection.stream->unsent_bytes() == 4);
  };
  world.loop.on_turn([&] {
    if (asking == nullptr) return;
    const Slice parts[] = {Slice::copy_of("two "), Slice(), Slice::copy_of("three")};
    asking->stream->write(parts);
    CHECK(asking->stream->unsent_bytes() == 13);
    asking = nullptr;
  });
  server.on_drained = [&](auto& connection) {
    CHECK(connection.stream->unsent_bytes() == 0);
    world.loop.stop();
  };
  world.loop.run();
  CHECK(server.connections[0]->drains == 1);
  CHECK(client.receive(13) == "one two three");
  server.connections.clear();
}

TEST_CASE("50 MB to a slow reader arrive intact, and unsent bytes are never more than were given") {
  constexpr size_t kBytes = 50'000'000;
  constexpr size_t kPiece = 1'000'003;
  World world;
  Server server(world.loop);
  const Slice piece(ChunkRef::make(kPiece, [](char* to) {
    for (size_t i = 0; i < kPiece; ++i) to[i] = static_cast<char>(i * 31 % 251);
  }));
  size_t given = 0;
  size_t unsent_max = 0;
  const auto give = [&](Server::Connection& connection) {
    // Two writes at a time, the second of many parts, so that sending stops anywhere.
    std::vector<Slice> parts;
    for (size_t at = 0; at < kPiece; at += 4099) {
      parts.push_back(piece.part(at, std::min<size_t>(4099, kPiece - at)));
    }
    connection.stream->write({&piece, 1});
    connection.stream->write(parts);
    given += 2 * kPiece;
    unsent_max = std::max(unsent_max, connection.stream->unsent_bytes());
    if (given >= kBytes) connection.stream->shut_down();
  };
  server.on_new = give;
  server.on_drained = [&](auto& connection) {
    if (given < kBytes) give(connection);
  };
  server.on_end = [&](auto&) { world.loop.stop(); };
  size_t received = 0;
  size_t wrong = 0;
  std::thread reader([&] {
    Client client(server.listener->address(), 16 * 1024);
    for (std::string got; !(got = client.receive(10'007)).empty();) {
      for (const char c : got) {
        if (c != static_cast<char>(received++ % kPiece * 31 % 251)) ++wrong;
      }
    }
    client.close();
  });
  world.loop.run();
  reader.join();
  CHECK(given >= kBytes);
  CHECK(received == given);
  CHECK(wrong == 0);
  CHECK(unsent_max <= 2 * kPiece);
  CHECK(server.connections[0]->stream->unsent_bytes() == 0);
  server.connections.clear();
}

TEST_CASE("a reader that reads nothing blocks neither the loop nor others") {
  World world;
  Server server(world.loop);
  Client stuck = server.client();
  stuck.send("all");
  Client quick(server.listener->address());
  server.on_bytes = [&](auto& connection) {
    if (connection.bytes != "all") return connection.write("small");
    connection.write(std::string(20'000'000, 'x'));
    quick.send("one");
  };
  server.on_drained = [&](auto&) { world.loop.stop(); };
  world.loop.run();
  CHECK(quick.receive(5) == "small");
  CHECK(server.connections[0]->drains == 0);
  CHECK(server.connections[0]->stream->unsent_bytes() > 0);
  server.connections.clear();  // with bytes unsent: closed at once
  CHECK(stuck.receive().size() < 20'000'000);
}

TEST_CASE("FIN is on_end, once, and an answer may still be given") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  client.send("question");
  client.end();
  server.on_end = [&](auto& connection) {
    CHECK(connection.bytes == "question");
    connection.write("answer");
    connection.stream->shut_down();
    connection.write("too late");
    CHECK(connection.stream->unsent_bytes() == 6);
  };
  server.on_drained = [&](auto&) { world.loop.stop(); };
  world.loop.run();
  CHECK(client.receive() == "answer");
  // Both directions are over, which the system would tell for ever.
  const uint64_t polls = world.loop.polls();
  auto timer = world.loop.timer([&] { world.loop.stop(); });
  timer->again(UvLoop::clock() + milliseconds(5));
  world.loop.run();
  CHECK(world.loop.polls() - polls <= 8);
  CHECK(server.connections[0]->ends == 1);
  CHECK(server.connections[0]->breaks == 0);
  server.connections.clear();
}

TEST_CASE("RST is on_broken, once, after which writing does nothing") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  server.on_new = [&](auto&) { client.reset(); };
  server.on_broken = [&](auto& connection) {
    connection.write("nobody");
    connection.stream->shut_down();
    connection.stream->read(true);
    CHECK(connection.stream->unsent_bytes() == 0);
    world.loop.stop();
  };
  world.loop.run();
  CHECK(server.connections[0]->breaks == 1);
  CHECK(server.connections[0]->ends == 0);
  server.connections.clear();
}

TEST_CASE("what came before RST is told first, and what was never sent is known") {
  for (const bool destroy : {false, true}) {
    World world;
    Server server(world.loop);
    Client client = server.client();
    // Both are there when the stream first sends, which fails.
    server.on_new = [&](auto& connection) {
      client.send("an answer");
      client.reset();
      connection.write("a request");
    };
    std::string got;
    server.on_bytes = [&](auto& connection) {
      got = connection.bytes;
      if (!destroy) return;
      server.drop(connection);
      world.loop.stop();
    };
    server.on_broken = [&](auto& connection) {
      CHECK(connection.stream->unsent_bytes() == 9);
      world.loop.stop();
    };
    world.loop.run();
    CHECK(got == "an answer");
    CHECK(server.connections.size() == (destroy ? 0 : 1));
    if (!destroy) CHECK(server.connections[0]->breaks == 1);
    server.connections.clear();
  }
}

TEST_CASE("RST is seen while the stream neither reads nor writes") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  client.send("unwanted");
  server.on_new = [&](auto& connection) { connection.stream->read(false); };
  // A second connection's answer shows that the first's bytes were seen and left.
  Client second = server.client();
  second.send("now");
  server.on_bytes = [&](auto& connection) {
    CHECK(connection.bytes == "now");
    client.reset();
  };
  server.on_new = [&](auto& connection) {
    if (server.connections.size() == 1) connection.stream->read(false);
  };
  server.on_broken = [&](auto& connection) {
    CHECK(connection.bytes.empty());
    world.loop.stop();
  };
  world.loop.run();
  CHECK(server.connections[0]->breaks == 1);
  server.connections.clear();
}

TEST_CASE("writing to a peer that has reset is on_broken, not a signal") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  server.on_new = [&](auto& connection) {
    // After FIN and RST the system answers a write with SIGPIPE, unless asked not to.
    client.end();
    client.reset();
    connection.write("x");
  };
  server.on_broken = [&](auto&) { world.loop.stop(); };
  world.loop.run();
  CHECK(server.connections[0]->breaks == 1);
  CHECK(server.connections[0]->drains == 0);
  server.connections.clear();
}

TEST_CASE("a stream may be destroyed inside each of its callbacks, with bytes unsent") {
  for (int which = 0; which < 5; ++which) {
    CAPTURE(which);
    World world;
    Server server(world.loop);
    Client client = server.client();
    const auto destroy = [&](Server::Connection& connection) {
      connection.write("never sent");
      server.drop(connection);
      world.loop.stop();
    };
    if (which == 0) server.on_new = destroy;
    if (which == 1) server.on_bytes = destroy;
    if (which == 2) server.on_end = destroy;
    if (which == 3) {
      server.on_bytes = [](auto& connection) { connection.write("x"); };
      server.on_drained = destroy;
    }
    if (which == 4) {
      server.on_new = [&](auto&) { client.reset(); };
      server.on_broken = destroy;
    } else {
      client.send("bytes");
      client.end();
    }
    world.loop.run();
    CHECK(server.connections.empty());
    // Closed at once; the unread bytes make it a reset where they were not read.
    if (which != 4) CHECK(client.receive() == (which == 3 ? "x" : ""));
  }
}

TEST_CASE("streams that destroy each other in one turn are safe") {
  World world;
  Server server(world.loop);
  std::vector<Client> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(server.client());
  int calls = 0;
  server.on_new = [&](auto&) {
    if (server.connections.size() != 4) return;
    for (Client& client : clients) client.send("x");
  };
  server.on_bytes = [&](Server::Connection& connection) {
    ++calls;
    for (const auto& other : server.connections) other->write("y");
    // All others go, those included whose bytes are in the same turn; their numbers are reused.
    std::erase_if(server.connections,
                  [&](const auto& other) { return other.get() != &connection; });
    world.loop.stop();
  };
  world.loop.run();
  CHECK(calls == 1);
  CHECK(server.connections.size() == 1);
  server.connections.clear();
}

TEST_CASE("a stream may die between being written to and sending, whoever sends meanwhile") {
  World world;
  Server server(world.loop);
  Client first = server.client();
  Client second = server.client();
  first.send("x");
  server.on_bytes = [&](auto& connection) { connection.write("answer"); };
  bool written = false;
  server.on_drained = [&](auto& connection) {
    if (written) return;
    written = true;
    server.connections[1]->write("never sent");
    connection.write("last");
  };
  world.loop.on_turn([&] {
    if (!written) return;
    if (server.connections.size() == 1) return world.loop.stop();
    server.drop(*server.connections[1]);
  });
  world.loop.run();
  CHECK(first.receive(10) == "answerlast");
  CHECK(second.receive().empty());
  server.connections.clear();
}

TEST_CASE("read(false) keeps bytes and FIN away until read(true)") {
  World world;
  Server server(world.loop);
  Client client = server.client();
  client.send("early");
  client.end();
  bool allowed = false;
  server.on_new = [&](auto& connection) { connection.stream->read(false); };
  auto timer = world.loop.timer([&] {
    allowed = true;
    server.connections[0]->stream->read(true);
  });
  timer->again(world.loop.now() + milliseconds(5));
  server.on_bytes = [&](auto&) { CHECK(allowed); };
  server.on_end = [&](auto& connection) {
    CHECK(allowed);
    CHECK(connection.bytes == "early");
    world.loop.stop();
  };
  world.loop.run();
  CHECK(server.connections[0]->ends == 1);
  // Bytes that nobody wants must not make the loop spin: a few returns, not thousands.
  CHECK(world.loop.polls() < 20);
  server.connections.clear();
}

}  // namespace
}  // namespace sluice
