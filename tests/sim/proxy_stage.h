// SPDX-License-Identifier: Apache-2.0
#pragma once
// Stage: a gateway whose pass-through goes to an endpoint of the test's own, for stories that are
// told rather than drawn; Reader: a client of it that sends one request and compares the answer.

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/sim/proxy_world.h"

namespace sluice::sim {

// Bytes that differ from those of every other size.
inline std::string payload(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + (i * 7 + size) % 26);
  return bytes;
}

// A plan without faults, which passes on to 10.0.0.8:80.
inline ProxyPlan stage_plan(uint64_t seed, size_t io_loops) {
  ProxyPlan plan;
  plan.seed = seed;
  plan.io_loops = io_loops;
  plan.config = proxy_config(false);
  plan.config.passthrough->upstream.url = "http://10.0.0.8:80";
  return plan;
}

// The world of such a plan, and its endpoint.
struct Stage {
  Stage(ProxyPlan plan_given, SimUpstream::Script script) : plan(std::move(plan_given)) {
    finish_config(plan.config);
    world.emplace(plan, [](const std::string& what) { FAIL_CHECK(what); });
    upstream.emplace(world->sim(), "10.0.0.8", 80, std::move(script));
  }
  SimWorld& sim() { return world->sim(); }
  std::unique_ptr<SimSocket> connect() {
    return SimLoop::connect(world->sim(), world->loops(), world->port());
  }
  // Runs until `done` and to the end, and looks at each step at what is held.
  void run(const std::function<bool()>& done) {
    world->run([&] {
      most = std::max(most, world->gateway().bytes_held());
      return done();
    });
    for (const std::string& what : upstream->violations()) FAIL_CHECK(what);
  }

  ProxyPlan plan;
  std::optional<ProxyWorld> world;
  std::optional<SimUpstream> upstream;
  uint64_t most = 0;  // bytes held at a time
};

// Sends one request, again after a while if it is refused with 429, and wants 200 and `wanted`.
struct Reader {
  Stage* stage = nullptr;
  std::string request;
  std::string wanted;
  size_t slow_bytes = 0;  // as SimSocket::read_slowly(); 0: takes all at once
  Duration slow_every = {};
  size_t* refused = nullptr;
  std::unique_ptr<SimSocket> socket = {};
  std::string received = {};
  bool served = false;
  bool gone = false;  // the gateway closed instead

  void start() {
    received.clear();
    socket = stage->connect();
    socket->on_bytes = [this](std::string_view bytes) { take(bytes); };
    socket->on_end = socket->on_reset = [this] { gone = !served; };
    if (slow_bytes > 0) socket->read_slowly(slow_bytes, slow_every);
    socket->send(request);
  }
  void take(std::string_view bytes) {
    received.append(bytes);
    const std::optional<WireAnswer> answer = take_answer(received);
    if (!answer) return;
    if (answer->status == 429 && refused != nullptr) {
      ++*refused;
      socket->on_end = socket->on_reset = [] {};
      return stage->sim().after(stage->sim().some(seconds(2)), [this] { start(); });
    }
    CHECK(answer->status == 200);
    CHECK(answer->body == wanted);
    served = true;
    stage->sim().after({}, [this] { socket.reset(); });
  }
};

}  // namespace sluice::sim
