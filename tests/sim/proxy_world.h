// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole gateway in front of an endpoint, on virtual time; and what a seed makes of it.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/gateway.h"
#include "tests/sim/proxy_client.h"
#include "tests/sim/sim_endpoint.h"
#include "tests/sim/sim_loop.h"

namespace sluice::sim {

// One run's world, drawn from its seed.
struct ProxyPlan {
  static ProxyPlan draw(uint64_t seed);
  // Whether something may fail that is nobody's fault.
  bool faulty() const;

  uint64_t seed = 0;
  bool tei = false;  // else the endpoint speaks OpenAI's dialect
  size_t io_loops = 1;
  size_t clients = 10;
  size_t requests = 80;  // over all clients
  size_t people = 3;     // different credentials
  double chat = 0.2;     // a request is a chat
  double poison = 0;     // a request has a text that the endpoint refuses
  double leave = 0;      // a client leaves at a random moment
  double deadline = 0;   // a request has a short deadline
  double slow_reader = 0;
  bool tight = false;  // little may wait or be held, so that requests are refused
  Config config;
  SimEndpoint::Options endpoint;
  SimUpstream::Faults upstream;
  Faults faults;  // of the wire
};

// What a run saw.
struct ProxySummary {
  uint64_t trace_hash = 0;
  uint64_t answered = 0;  // with 200 and the right vectors or stream
  uint64_t chats = 0;     // of these, streams
  uint64_t poisoned = 0;  // with the endpoint's own 422
  uint64_t failed = 0;    // with 5xx or 429, or a stream that broke
  uint64_t left = 0;      // by the client
  uint64_t usage = 0;     // tokens told to clients
  uint64_t tokens = 0;    // tokens told by the endpoint
  uint64_t calls = 0;
  uint64_t items = 0;
  std::vector<std::string> violations;  // what must not be; empty if all held
};

// The configuration of a gateway whose only endpoint is SimEndpoint's, also for what is passed
// through.
Config proxy_config(bool tei);

// The sum of all series of this name that have labels.
double sum_of(const std::string& metrics, const std::string& name);

// The gateway, its loops and its endpoint, until destroyed.
class ProxyWorld {
 public:
  // `violation` is told what must not be, and outlives the world.
  ProxyWorld(const ProxyPlan& plan, std::function<void(std::string)> violation);
  ~ProxyWorld();
  SimWorld& sim() { return sim_; }
  SimEndpoint& endpoint() { return endpoint_; }
  std::vector<SimLoop*> loops() const;
  const Gateway& gateway() const { return *gateway_; }
  uint16_t port() const { return gateway_->main_address().port; }
  // Begins to drain now, as run() does at its end; allowed from inside an event.
  void drain();
  // Runs until `done`, then drains, runs to the end of all time and checks that nothing is left.
  void run(const std::function<bool()>& done);

 private:
  void check_end();

  class LaterOffload;
  const ProxyPlan& plan_;
  std::function<void(std::string)> violation_;
  SimWorld sim_;
  SimEndpoint endpoint_;
  std::unique_ptr<Offload> offload_;
  Log log_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::unique_ptr<Gateway> gateway_;
  bool draining_ = false;
  bool drained_ = false;
};

// Runs the plan to its end and checks it. Deterministic.
ProxySummary run(const ProxyPlan& plan);

}  // namespace sluice::sim
