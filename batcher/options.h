// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the core is configured with. Every queue, table and wait has its limit here.

#include <cstddef>
#include <cstdint>
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
};

}  // namespace sluice
