// SPDX-License-Identifier: Apache-2.0
#pragma once
// What follows from a failed call, by kind of failure: one table, which docs/ARCHITECTURE.md shows
// in words. The core reads it and decides nothing by kind elsewhere.

#include "base/error.h"
#include "batcher/options.h"
#include "batcher/row.h"

namespace sluice {

// When the rows of a failed call may be sent again.
enum class Retry : uint8_t { kNo, kNow, kBackoff };
// How a failed call is taken apart to find the part that is at fault.
enum class Split : uint8_t {
  kNone,
  kRequests,  // in halves at the boundaries of requests, until one stands alone
  kBytes,     // in halves by bytes, down to single rows
};

// One line of the table.
struct FailurePolicy {
  Retry retry = Retry::kNo;
  bool needs_repeatable = false;  // sent again only if BackendOptions::repeatable
  bool needs_budget = false;      // sent again only within the backend's retry budget
  bool counts = false;            // towards opening the breaker; others but kFinal show it alive
  bool shrinks = false;           // the backend's slots
  Split split = Split::kNone;
  bool as_it_came = false;      // the client gets the Error unchanged, what the upstream said in it
  Code code = Code::kUpstream;  // else with this code
  bool keeps_internal = false;  // but Code::kInternal stays: an engine's own
  bool keeps_timeout = false;   // but Code::kTimeout stays
  bool is_silent = false;       // says nothing about whether the backend is alive
};

// The line of `failure` for a backend with `options`: there, a 5xx may be a row's fault.
FailurePolicy policy_of(Failure failure, const BackendOptions& options);

// `error` as a client gets it when its rows are not sent again. What the upstream said stays in it
// only where the table says so: it may speak of somebody else's rows. A 503 always has a
// retry_after.
Error client_error(const FailurePolicy& policy, const Error& error);

// The label of `failure` in metrics, e.g. "unreachable".
const char* to_text(Failure failure);

}  // namespace sluice
