// SPDX-License-Identifier: Apache-2.0
#pragma once
// Telemetry: every series of docs/METRICS.md, declared once. What is counted where: I/O threads
// count requests and connections, the core thread batches and queues.

#include <array>
#include <string>
#include <vector>

#include "backends/http_client.h"
#include "base/metrics.h"
#include "batcher/core.h"

namespace sluice {

struct Telemetry {
  // Declares all series in `metrics`, and those of each backend under these names, which are in the
  // order of CoreOptions::backends; `endpoints` says which of them are endpoints. REQUIRES: no
  // shard yet.
  explicit Telemetry(Metrics& metrics, const std::vector<std::string>& backends = {},
                     const std::vector<bool>& endpoints = {});

  // Counts an answer of `status`; a status that is not in the table counts as "other".
  void count_request(MetricsShard& shard, int status) const;
  // Counts what has changed in the core since `before`, and shows what there is now.
  void publish_core(MetricsShard& shard, const CoreStats& before, const CoreStats& now) const;

  // Counts what has changed in this thread's connections to an endpoint, and shows what there is.
  void publish_upstream(MetricsShard& shard, BackendIndex backend, const HttpPool::Stats& before,
                        const HttpPool::Stats& now) const;

  HistogramId stage_read;     // a request's first byte to its rows
  HistogramId stage_queue;    // its rows to the start of its first call
  HistogramId stage_batch;    // per call: handing the batch to the backend and its answer back
  HistogramId stage_backend;  // per call: the backend at work
  HistogramId stage_write;    // an answer to its last byte handed to the system
  HistogramId batch_items;
  HistogramId batch_tokens;
  GaugeId connections;
  GaugeId bytes_held;
  CounterId shadow_requests;
  CounterId shadow_calls;
  CounterId lookups;
  CounterId handshakes_full;
  CounterId handshakes_resumed;

 private:
  void declare_core(Metrics& metrics);
  std::array<CounterId, 600> requests_;
  std::array<CounterId, kLeaveReasons> batches_;
  GaugeId queue_items_;
  GaugeId queue_bytes_;
  GaugeId requests_in_flight_;
  CounterId cancelled_;
  CounterId expired_;
  CounterId hopeless_;
  CounterId rejected_full_;
  CounterId rejected_draining_;
  CounterId rejected_open_;
  CounterId retried_rows_;
  CounterId retried_calls_;
  CounterId budget_refused_;
  CounterId splits_;
  CounterId split_calls_;
  CounterId failed_open_;
  std::array<CounterId, kFailures> failures_;
  struct Backend {
    GaugeId slots;
    GaugeId breaker;
    CounterId opens;
  };
  std::vector<Backend> backends_;  // by BackendIndex
  struct Endpoint {
    GaugeId open;
    GaugeId idle;
    CounterId opened;
    CounterId failed;
    CounterId reused;
    CounterId closed[kClosings];
    CounterId answers[kAnswerClasses];
  };
  void declare_endpoint(Metrics& metrics, Endpoint& endpoint, const std::string& name);
  std::vector<Endpoint> endpoints_;  // by BackendIndex; those of models in this process are unused
};

}  // namespace sluice
