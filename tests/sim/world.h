// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole gateway on virtual time: clients that misbehave, the real HTTP, dialect, core and
// dispatcher code, and an engine that takes its time and sometimes fails; and the checkers, which
// hold everything seen against what must hold whatever the order of events.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/engine.h"
#include "gateway/gateway.h"
#include "tests/sim/sim_loop.h"

namespace sluice::sim {

// One run's world, drawn from its seed.
struct Plan {
  static Plan draw(uint64_t seed);

  uint64_t seed = 0;
  size_t io_loops = 1;
  size_t clients = 20;
  size_t requests = 100;  // over all clients
  Config config;          // one echo model
  Duration service_a;
  Duration service_b;
  Duration engine_lead;     // a batch says so long before that it is about to end; 0: it does not
  double service_slow = 0;  // a batch takes 50 times as long
  double engine_error = 0;  // a batch fails and may be retried
  double engine_wrong = 0;  // a batch gives one answer too few or too many
  double leave = 0;         // a client leaves at a random moment
  double reset = 0;         // … by RST
  double garbage = 0;       // a request is malformed
  double bad_body = 0;      // its JSON or a field is wrong
  double big = 0;           // a request has many inputs
  double deadline = 0;      // a request has a short deadline
  double slow_reader = 0;
  double pipelined = 0;
  std::optional<Duration> drain_after;  // SIGTERM at some moment
  Faults faults;
};

// What a run saw, for tests that look at more than the checkers.
struct Summary {
  uint64_t trace_hash = 0;
  uint64_t answered = 0;  // with 200 and the right vectors
  uint64_t refused = 0;   // with 429 or 503
  uint64_t expired = 0;   // with 504
  uint64_t invalid = 0;   // with another 4xx
  uint64_t failed = 0;    // with 500 or 502
  uint64_t dropped = 0;   // connection ended before an answer
  uint64_t batches = 0;
  uint64_t rows = 0;
  std::vector<std::string> violations;  // what must not be; empty if all held
};

// Runs the plan to its end and checks it. Deterministic.
Summary run(const Plan& plan);

}  // namespace sluice::sim
