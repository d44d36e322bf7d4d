// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the core is configured with. Every queue, table and wait has its limit here.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "batcher/row.h"

namespace sluice {

// What one call may hold at most; all three hold together. Zero tokens_max: tokens do not count.
struct BatchLimits {
  uint64_t items_max = 64;
  uint64_t bytes_max = 4 * 1024 * 1024;
  uint64_t tokens_max = 16384;
  // Hold a batch this long for company, as far as company is to be expected; zero: a free slot
  // takes what waits.
  Duration wait_max = {};
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
  // What a call takes is CallDone::busy, not the time to its end: that is when a stream ends.
  bool learns_busy = false;
};

// A place where batches run. Models may share one; a model whose requests all travel alone
// (items_max 1: what is passed through) is best on one of its own with many slots.
struct BackendOptions {
  std::string name;
  uint32_t slots = 1;       // calls it may have in flight, while it does not answer 429
  bool bisect_5xx = false;  // a 5xx of kind kBroken may be one row's fault: look for it
  bool repeatable = true;   // a call that broke in the middle may be made again
  // Takes one more call for each that it has said is about to end, but never more than twice its
  // slots: a device that must not wait for its next batch.
  bool late_binding = false;
  // Backends that name the same breaker share it: those that are one origin. nullopt: one of its
  // own.
  std::optional<uint32_t> breaker = {};
  uint32_t breaker_failures = 5;  // in a row, and the breaker opens; zero: never. Of backends that
                                  // share one, the first decides
};

// Everything the core is told at the start.
struct CoreOptions {
  std::vector<ModelOptions> models;
  std::vector<BackendOptions> backends;
  uint64_t queued_bytes_max = 256 * 1024 * 1024;  // over all models, queued and in flight
  uint32_t attempts_max = 2;                      // calls a row may be part of
  Duration priority_step = milliseconds(500);     // age that one level of priority is worth
  int32_t priority_max = 10;                      // priorities beyond +-this count as this
  size_t keys_max = 1024;                         // distinct keys with rows waiting; beyond: 429
  size_t tenants_max = 4096;  // distinct tenants with rows waiting, per key; beyond: 429
  Duration retry_pause = milliseconds(50);  // before a second call, doubling with each further one
  Duration retry_pause_max = seconds(2);    // unless the backend asked for more
  size_t offenders_max = 1024;  // tenants remembered for having made calls of others fail
  uint64_t seed = 1;            // of what is left to chance: how pauses differ
};

}  // namespace sluice
