// SPDX-License-Identifier: Apache-2.0
#pragma once
// The core's books: a Live per request between Arrived and Reply, a Call per batch in flight, and
// who points to whom. Plain data; core.cc keeps it consistent.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "batcher/heap.h"
#include "batcher/queue.h"
#include "batcher/row.h"

namespace sluice {

struct Call;
struct Live;

// Consecutive rows of one request inside a call.
struct Segment {
  Live* live = nullptr;  // nullptr: its request has left
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t attempts = 0;  // as Piece::attempts, this call included
};

// Where a request is in a call: call->segments[segment].live is the request.
struct Flight {
  Call* call = nullptr;
  size_t segment = 0;
};

// A batch in flight, from StartCall to CallDone.
struct Call {
  CallId id = 0;
  ModelIndex model = 0;
  BackendIndex backend = 0;
  size_t backend_position = 0;  // in ModelOptions::backends
  bool is_part = false;         // of a call that failed and was split
  size_t requests = 0;          // that had rows in it when it started
  Weight weight;
  Instant started;  // when it was asked for, then when it really began
  std::vector<Segment> segments;
  size_t waiters = 0;    // segments whose request has not left
  bool aborted = false;  // AbortCall was sent, or is not needed any more
  bool lent = false;     // it is about to end, and its slot may be given away
  bool queues = false;   // it was given a slot that was not free yet
};

// A request that has not been answered. Each of its rows is in one piece, in one flight, or has an
// outcome.
struct Live {
  Request request;  // its rows must not move: pieces point to them
  Weight weight;
  Order order;            // its place in the line of its tenant
  Instant deadline;       // its own, or the model's default
  Instant leave_by;       // waiting for company must end here
  bool oversize = false;  // larger than a whole batch
  bool alone = false;     // shares calls with its own tenant only
  size_t deadline_place = kNowhere;
  std::vector<std::unique_ptr<Piece>> pieces;  // those that wait
  std::vector<Flight> flights;
  std::vector<Outcome> outcomes;  // one per row once the first call has ended
  size_t rows_open = 0;           // rows without an outcome
  CallId first_call = 0;
  CallId last_call = 0;
  Instant first_started;
  Timings timings;
};

}  // namespace sluice
