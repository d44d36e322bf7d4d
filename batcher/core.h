// SPDX-License-Identifier: Apache-2.0
#pragma once
// Core: every decision of the gateway, as one function of events. It starts no thread, takes no
// lock, reads no clock and opens no socket; the server, the simulation and the planner run the same
// one. Owned by the core thread.
//
// Invariants: every Arrived request gets exactly one Reply unless it is Cancelled first; every
// StartCall is matched by one CallDone; a backend never has more calls than slots; no call mixes
// models or keys or breaks a limit of BatchLimits, but for a single row that is larger than a
// batch.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "batcher/row.h"

namespace sluice {

// What one call may hold at most; all three hold together. Zero tokens_max: tokens do not count.
struct BatchLimits {
  uint64_t items_max = 64;
  uint64_t bytes_max = 4 * 1024 * 1024;
  uint64_t tokens_max = 16384;
  Duration wait_max = {};  // hold a batch this long for company; zero: a free slot takes what waits
};

// What may wait for one model at most; beyond, a request is refused with 429.
struct QueueLimits {
  uint64_t items_max = 4096;  // a larger request is let in alone when the queue is empty
  uint64_t bytes_max = 64 * 1024 * 1024;
  uint64_t tenant_items_max = 4096;  // of one tenant
  Duration deadline = seconds(600);  // for requests that bring none
};

// A model as clients name it, and where it runs.
struct ModelOptions {
  std::string name;
  BatchLimits batch;
  QueueLimits queue;
  std::vector<BackendIndex> backends;  // at least one
};

// A place where batches run.
struct BackendOptions {
  std::string name;
  uint32_t slots = 1;  // calls it may have in flight
};

struct CoreOptions {
  std::vector<ModelOptions> models;
  std::vector<BackendOptions> backends;
  uint64_t queued_bytes_max = 256 * 1024 * 1024;  // over all models, queued and in flight
  uint32_t attempts_max = 2;                      // calls a row may be part of
  Duration priority_step = milliseconds(500);     // age that one level of priority is worth
  size_t keys_max = 1024;                         // distinct keys with rows waiting; beyond: 429
  size_t tenants_max = 4096;  // distinct tenants with rows waiting, per key; beyond: 429
};

// Counters since the start, and what there is now. Read by the owner after step().
struct CoreStats {
  uint64_t arrived = 0;
  uint64_t replied = 0;  // with outcomes
  uint64_t cancelled = 0;
  uint64_t expired = 0;         // 504 at the deadline
  uint64_t hopeless = 0;        // 504 at once: the deadline could not be met
  uint64_t rejected_full = 0;   // 429
  uint64_t rejected_drain = 0;  // 503
  uint64_t failed = 0;          // an Error from the backend reached the client
  uint64_t retried_rows = 0;
  uint64_t calls = 0;
  uint64_t rows_sent = 0;
  uint64_t left[kLeaveReasons] = {};  // batches by LeaveReason
  uint64_t requests_open = 0;         // arrived, not replied, not cancelled
  Weight queued;                      // waiting for a slot
  Weight in_flight;                   // in calls
  uint64_t calls_in_flight = 0;
};

class Core {
 public:
  explicit Core(CoreOptions options);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Takes in `events` in order and appends what follows from them to `actions`. `now` never goes
  // back. Events may be moved from. Call again at next_wake() at the latest.
  void step(Instant now, std::span<Event> events, std::vector<Action>& actions);
  // When a deadline or a hold passes; nothing while only events can change anything.
  std::optional<Instant> next_wake() const;

  const CoreStats& stats() const;
  // Whether nothing waits and nothing is in flight.
  bool idle() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice
