// SPDX-License-Identifier: Apache-2.0
#pragma once
// Admission: whether a request may wait at all, and with which error it is refused if not. A quick
// no is better than a late yes.

#include <optional>

#include "base/error.h"
#include "base/time.h"
#include "batcher/options.h"
#include "batcher/row.h"

namespace sluice {

// What is known when a request knocks.
struct Situation {
  Instant now;
  bool draining = false;
  std::optional<Duration> opens_in;  // no backend of the model may be called before that
  Weight waiting;                    // for the model, in all keys
  uint64_t tenant_items = 0;         // of the request's tenant, waiting for the model
  uint64_t held_bytes = 0;           // in the whole core, waiting or in flight
  size_t keys = 0;                   // with rows waiting, in the whole core
  bool key_waits = false;            // whether the request's key is one of them
  size_t tenants = 0;                // with rows waiting under that key
  bool tenant_waits = false;         // whether the request's tenant is one of them
  std::optional<Duration> p99;       // how long a call of its rows alone takes, where known
  Duration retry_after;              // for those who find no room
};

// Why a request was refused; a metric label.
enum class Refusal { kFull, kDraining, kHopeless, kOpen };
// A refusal, and what to tell the client.
struct Refused {
  Refusal why = Refusal::kFull;
  Error error;
};

// nullopt: the request, which weighs `weight` and must be answered by `deadline` if its client says
// so, may wait. kUnavailable while draining, or while no backend may be called; kTimeout if its
// deadline has passed or cannot be met; kTooLarge if it could never be held; kOverloaded if there
// is no room now. A request that is larger than the model's or its tenant's limit may wait where
// nothing else does.
std::optional<Refused> refuse(const Situation& situation, const Weight& weight,
                              std::optional<Instant> deadline, const QueueLimits& limits,
                              const CoreOptions& options);

}  // namespace sluice
