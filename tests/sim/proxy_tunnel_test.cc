// SPDX-License-Identifier: Apache-2.0
// Tunnels through a gateway: both ends talk as they like, one of them stops, one of them breaks;
// no byte is lost, doubled or somebody else's, and nothing stays behind.
#include <set>
#include <string>
#include <vector>

#include "tests/http_client_world.h"
#include "tests/sim/proxy_stage.h"

namespace sluice::sim {
namespace {

constexpr const char* kUpgrade =
    "GET /ws HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr const char* kSwitched =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

// What the upstream says to a byte of the client.
char answer_to(char byte) { return static_cast<char>(byte ^ 0x20); }

// How a tunnel ends.
enum class End { kClientFin, kUpstreamFin, kClientReset, kUpstreamReset };

// One tunnel: the client sends pieces; the upstream answers each byte, at its own pace.
struct Tunnel {
  Stage* stage = nullptr;
  End end = End::kClientFin;
  size_t pieces = 0;
  std::unique_ptr<SimSocket> socket = {};
  std::string sent = {};
  std::string received = {};  // after the head
  bool switched = false;
  bool over = false;

  void start() {
    socket = stage->connect();
    if (stage->sim().prng().chance(0.3)) socket->read_slowly(3000, milliseconds(1));
    socket->on_bytes = [this](std::string_view bytes) { take(bytes); };
    socket->on_end = socket->on_reset = [this] { over = true; };
    socket->send(kUpgrade);
  }
  void take(std::string_view bytes) {
    received.append(bytes);
    if (switched) return;
    const size_t head = received.find("\r\n\r\n");
    if (head == std::string::npos) return;
    INFO(received);
    CHECK(received.starts_with("HTTP/1.1 101 "));
    CHECK(received.substr(0, head).find("websocket") != std::string::npos);
    received.erase(0, head + 4);
    switched = true;
    talk();
  }
  void talk() {
    Prng& prng = stage->sim().prng();
    if (pieces-- == 0) {
      if (end == End::kClientFin) socket->finish();
      if (end == End::kUpstreamFin) socket->send("\x01");
      if (end == End::kUpstreamReset) socket->send("\x02");
      if (end != End::kClientReset) return;
      socket->reset();
      over = true;
      return;
    }
    const std::string piece(static_cast<size_t>(prng.between(1, prng.chance(0.1) ? 100'000 : 500)),
                            static_cast<char>(prng.between('A', 'Z')));
    sent += piece;
    socket->send(piece);
    stage->sim().after(stage->sim().some(milliseconds(3)), [this] { talk(); });
  }
};

// Switches, then answers each byte; 1 makes it end, 2 makes it break.
void play(SimWorld& world, PlayedUpstream& upstream) {
  upstream.on_bytes = [&, switched = std::set<size_t>()](size_t n, std::string& received) mutable {
    if (!switched.contains(n)) {
      const size_t head = received.find("\r\n\r\n");
      if (head == std::string::npos) return;
      CHECK(received.substr(0, head).find("pgrade: websocket") != std::string::npos);
      received.erase(0, head + 4);
      switched.insert(n);
      upstream.send(n, kSwitched);
      const auto connection = upstream.connections[n].get();
      connection->socket->on_end = [&world, connection] {
        connection->gone = true;
        world.after({}, [connection] { connection->socket->finish(); });
      };
    }
    std::string answer;
    bool fin = false;
    bool reset = false;
    for (const char byte : std::exchange(received, {})) {
      fin |= byte == 1;
      reset |= byte == 2;
      if (byte > 2) answer += answer_to(byte);
    }
    if (!answer.empty()) upstream.send(n, answer);
    const auto connection = upstream.connections[n].get();
    if (fin) world.after({}, [connection] { connection->socket->finish(); });
    if (!reset) return;
    connection->gone = true;
    world.after({}, [connection] { connection->socket->reset_when_sent(); });
  };
}

TEST_CASE("tunnels carry what both ends say, until one of them ends or breaks it") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    ProxyPlan plan = stage_plan(seed, seed % 2 == 0 ? 4 : 1);
    plan.config.passthrough->upstream.url = "http://10.0.0.1";
    plan.faults.split = 0.5;
    Stage stage(plan, [](const SimRequest&, const SimReply&) {});
    PlayedUpstream upstream(stage.sim());
    play(stage.sim(), upstream);
    std::vector<std::unique_ptr<Tunnel>> tunnels;
    for (size_t i = 0; i < 8; ++i) {
      tunnels.push_back(std::make_unique<Tunnel>(
          Tunnel{.stage = &stage,
                 .end = static_cast<End>(stage.sim().prng().between(0, 3)),
                 .pieces = static_cast<size_t>(stage.sim().prng().between(0, 12))}));
      stage.sim().after(stage.sim().some(milliseconds(5)),
                        [tunnel = tunnels.back().get()] { tunnel->start(); });
    }
    if (seed % 3 == 0) stage.sim().after(milliseconds(15), [&] { stage.world->drain(); });
    stage.run([&] {
      return std::ranges::all_of(tunnels, [](const auto& tunnel) { return tunnel->over; });
    });
    INFO("seed " << seed);
    for (const auto& tunnel : tunnels) {
      std::string wanted;
      for (const char byte : tunnel->sent) wanted += answer_to(byte);
      CHECK(tunnel->switched);
      CHECK(wanted.starts_with(tunnel->received));
      const bool whole = tunnel->end == End::kClientFin || tunnel->end == End::kUpstreamFin;
      if (whole) CHECK(tunnel->received.size() == wanted.size());
    }
    CHECK(upstream.open() == 0);
  }
}

TEST_CASE("a tunnel whose client takes nothing is closed in time, whatever the upstream says") {
  ProxyPlan plan = stage_plan(9, 1);
  plan.config.passthrough->upstream.url = "http://10.0.0.1";
  Stage stage(plan, [](const SimRequest&, const SimReply&) {});
  PlayedUpstream upstream(stage.sim());
  upstream.on_bytes = [&](size_t n, std::string& received) {
    received.clear();
    upstream.send(n, kSwitched + std::string(1'000'000, 'x'));
  };
  const auto socket = stage.connect();
  bool over = false;
  socket->on_end = socket->on_reset = [&] { over = true; };
  socket->read_slowly(1, seconds(1000));
  socket->send(kUpgrade);
  const Instant began = stage.sim().now();
  bool held_little = false;
  stage.sim().after(seconds(10), [&] {
    held_little = stage.world->gateway().bytes_held() > 32'000 &&
                  stage.world->gateway().bytes_held() < 100'000;
  });
  std::optional<Instant> closed;
  stage.run([&] {
    const bool open = stage.world->loops()[0]->streams_open() > 0;
    if (held_little && !open && !closed) closed = stage.sim().now();
    return closed.has_value();
  });
  CHECK(held_little);
  REQUIRE(closed);
  CHECK(*closed - began < seconds(120));
}

}  // namespace
}  // namespace sluice::sim
