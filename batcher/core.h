// SPDX-License-Identifier: Apache-2.0
#pragma once
// Core: every decision of the gateway, as one function of events. It starts no thread, takes no
// lock, reads no clock and opens no socket; the server, the simulation and the planner run the same
// one. Owned by the core thread.
//
// Invariants: every Arrived request gets exactly one Reply unless it is Cancelled first; every
// StartCall is matched by one CallDone; a backend never has more calls than slots, but for one more
// per call that it has said is about to end if it binds late; no call mixes models or keys or
// breaks a limit of BatchLimits, but for a single row that is larger than a batch.

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/time.h"
#include "batcher/breaker.h"
#include "batcher/options.h"
#include "batcher/row.h"

namespace sluice {

// What there is of one backend, for those who watch.
struct BackendStats {
  uint32_t slots = 0;  // calls it may have in flight now
  BreakerState breaker = BreakerState::kClosed;
  uint64_t breaker_opens = 0;
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
  uint64_t rejected_open = 0;   // 503: no backend of its model answers
  uint64_t failed = 0;          // an Error from the backend reached the client
  uint64_t failed_open = 0;     // 503 while it waited: a backend was probed and does not answer
  uint64_t failures[kFailures] = {};  // calls by Failure
  uint64_t retried_calls = 0;         // failed calls of which rows wait again
  uint64_t retried_rows = 0;
  uint64_t budget_refused = 0;  // failed calls not made again for want of budget
  uint64_t splits = 0;          // failed calls that were taken apart
  uint64_t split_calls = 0;     // calls that were a part of one
  uint64_t calls = 0;
  uint64_t rows_sent = 0;
  uint64_t left[kLeaveReasons] = {};  // batches by LeaveReason
  uint64_t requests_open = 0;         // arrived, not replied, not cancelled
  Weight queued;                      // waiting for a slot
  Weight in_flight;                   // in calls
  uint64_t calls_in_flight = 0;
  std::vector<BackendStats> backends;  // by BackendIndex
  uint64_t steps = 0;  // elementary steps of its queues and heaps: what a test of growth counts
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
  // When a deadline, a hold or a pause passes or a probe is due that something waits for; nothing
  // while only events can change anything.
  std::optional<Instant> next_wake() const;

  const CoreStats& stats() const;
  // Whether nothing waits and nothing is in flight.
  bool idle() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice
