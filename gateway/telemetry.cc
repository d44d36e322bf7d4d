// SPDX-License-Identifier: Apache-2.0
#include "gateway/telemetry.h"

#include <algorithm>
#include <string>

#include "batcher/failures.h"

namespace sluice {
namespace {

constexpr int kStatuses[] = {101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400,
                             401, 402, 403, 404, 405, 406, 408, 409, 410, 412, 413, 414, 415,
                             416, 417, 422, 424, 425, 429, 431, 500, 501, 502, 503, 504, 505};
constexpr const char* kClosingNames[kClosings] = {"idle",   "age",     "upstream", "answer",
                                                  "failed", "aborted", "switched"};
constexpr const char* kClassNames[kAnswerClasses] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
constexpr const char* kReasons[kLeaveReasons] = {"idle", "items", "bytes", "tokens",
                                                 "held", "quiet", "split", "drain"};

}  // namespace

Telemetry::Telemetry(Metrics& metrics, const std::vector<std::string>& backends,
                     const std::vector<bool>& endpoints) {
  const auto stage = [&](const char* name) {
    return metrics.histogram("sluice_stage_seconds", "Time by stage of a request or of a call.",
                             latency_bounds(), {{"stage", name}});
  };
  stage_read = stage("read");
  stage_queue = stage("queue");
  stage_batch = stage("batch");
  stage_backend = stage("backend");
  stage_write = stage("write");
  batch_items = metrics.histogram("sluice_batch_items", "Items in a batch.", size_bounds(4096));
  batch_tokens =
      metrics.histogram("sluice_batch_tokens", "Tokens in a batch.", size_bounds(1 << 20));
  connections = metrics.gauge("sluice_connections", "Open client connections.");
  bytes_held = metrics.gauge("sluice_bytes_held", "Request and answer bytes held for clients.");
  shadow_requests = metrics.counter("sluice_shadow_requests_total",
                                    "Requests that were not merged but could have been.");
  shadow_calls =
      metrics.counter("sluice_shadow_calls_total",
                      "Calls that those requests would have needed, had they been merged.");

  const auto answered = [&](const std::string& code) {
    return metrics.counter("sluice_requests_total", "Answers sent, by HTTP status.",
                           {{"code", code}});
  };
  requests_.fill(answered("other"));
  for (const int status : kStatuses)
    requests_[static_cast<size_t>(status)] = answered(std::to_string(status));
  declare_core(metrics);
  for (const std::string& name : backends) {
    backends_.push_back(
        {metrics.gauge("sluice_backend_slots", "Calls that a backend may have in flight now.",
                       {{"backend", name}}),
         metrics.gauge("sluice_breaker_state", "0: calls go; 1: open; 2: open and being probed.",
                       {{"backend", name}}),
         metrics.counter("sluice_breaker_opens_total", "How often a breaker has opened.",
                         {{"backend", name}})});
  }
  endpoints_.resize(backends.size());
  for (size_t i = 0; i < endpoints.size(); ++i) {
    if (endpoints[i]) declare_endpoint(metrics, endpoints_[i], backends[i]);
  }
  lookups = metrics.counter("sluice_dns_lookups_total", "Names of endpoints that were asked for.");
  const auto handshakes = [&](const char* kind) {
    return metrics.counter("sluice_tls_handshakes_total", "TLS handshakes with endpoints.",
                           {{"kind", kind}});
  };
  handshakes_full = handshakes("full");
  handshakes_resumed = handshakes("resumed");
  const GaugeId build = metrics.gauge("sluice_build_info", "Always 1; the labels say which build.",
                                      {{"version", SLUICE_VERSION}});
  metrics.shard().set(build, 1);
}

void Telemetry::declare_core(Metrics& metrics) {
  for (size_t i = 0; i < kLeaveReasons; ++i)
    batches_[i] = metrics.counter("sluice_batches_total", "Batches sent, by why they left.",
                                  {{"reason", kReasons[i]}});
  queue_items_ = metrics.gauge("sluice_queue_items", "Items waiting for a batch.");
  queue_bytes_ = metrics.gauge("sluice_queue_bytes", "Bytes of rows waiting for a batch.");
  requests_in_flight_ =
      metrics.gauge("sluice_requests_in_flight", "Requests accepted and not answered yet.");
  cancelled_ = metrics.counter("sluice_cancelled_total", "Requests whose client left.");
  expired_ = metrics.counter("sluice_expired_total", "Requests answered 504 at their deadline.");
  const auto rejected = [&](const char* reason) {
    return metrics.counter("sluice_rejected_total", "Requests refused, by reason.",
                           {{"reason", reason}});
  };
  rejected_full_ = rejected("full");
  rejected_draining_ = rejected("draining");
  rejected_open_ = rejected("breaker");
  hopeless_ = rejected("deadline");
  retried_rows_ = metrics.counter("sluice_retried_rows_total", "Rows sent again after a failure.");
  retried_calls_ =
      metrics.counter("sluice_retried_calls_total", "Failed calls of which items were sent again.");
  budget_refused_ = metrics.counter("sluice_retry_budget_refused_total",
                                    "Failed calls not made again for want of retry budget.");
  splits_ = metrics.counter("sluice_splits_total",
                            "Failed calls taken apart to find the request at fault.");
  split_calls_ = metrics.counter("sluice_split_calls_total", "Calls made of parts of failed ones.");
  failed_open_ = metrics.counter("sluice_breaker_failed_total",
                                 "Waiting requests answered 503 because a probe failed.");
  for (size_t i = 0; i < kFailures; ++i)
    failures_[i] = metrics.counter("sluice_call_failures_total", "Failed calls, by kind.",
                                   {{"kind", to_text(static_cast<Failure>(i))}});
}

void Telemetry::declare_endpoint(Metrics& metrics, Endpoint& endpoint, const std::string& name) {
  const Metrics::Labels whose = {{"backend", name}};
  endpoint.open = metrics.gauge("sluice_upstream_connections",
                                "Connections to an endpoint, open or being made.", whose);
  endpoint.idle = metrics.gauge("sluice_upstream_connections_idle",
                                "Connections to an endpoint that wait for a request.", whose);
  endpoint.opened = metrics.counter("sluice_upstream_connections_opened_total",
                                    "Connections made to an endpoint.", whose);
  endpoint.failed = metrics.counter("sluice_upstream_connections_failed_total",
                                    "Connections to an endpoint that could not be made.", whose);
  endpoint.reused = metrics.counter("sluice_upstream_connections_reused_total",
                                    "Requests sent on a kept connection.", whose);
  for (size_t i = 0; i < kClosings; ++i)
    endpoint.closed[i] = metrics.counter("sluice_upstream_connections_closed_total",
                                         "Connections to an endpoint that have ended, by why.",
                                         {{"backend", name}, {"reason", kClosingNames[i]}});
  for (size_t i = 0; i < kAnswerClasses; ++i)
    endpoint.answers[i] =
        metrics.counter("sluice_upstream_answers_total", "Answers of an endpoint, by class.",
                        {{"backend", name}, {"code", kClassNames[i]}});
}

void Telemetry::publish_upstream(MetricsShard& shard, BackendIndex backend,
                                 const HttpPool::Stats& before, const HttpPool::Stats& now) const {
  const Endpoint& endpoint = endpoints_[backend];
  const auto add = [&](CounterId id, uint64_t was, uint64_t is) {
    if (is != was) shard.add(id, static_cast<double>(is - was));
  };
  add(endpoint.opened, before.opened, now.opened);
  add(endpoint.failed, before.failed, now.failed);
  add(endpoint.reused, before.reused, now.reused);
  for (size_t i = 0; i < kClosings; ++i) add(endpoint.closed[i], before.closed[i], now.closed[i]);
  for (size_t i = 0; i < kAnswerClasses; ++i)
    add(endpoint.answers[i], before.answers[i], now.answers[i]);
  shard.set(endpoint.open, static_cast<double>(now.open));
  shard.set(endpoint.idle, static_cast<double>(now.idle));
}

void Telemetry::count_request(MetricsShard& shard, int status) const {
  shard.add(requests_[status >= 0 && status < 600 ? static_cast<size_t>(status) : 0]);
}

void Telemetry::publish_core(MetricsShard& shard, const CoreStats& before,
                             const CoreStats& now) const {
  const auto add = [&](CounterId id, uint64_t was, uint64_t is) {
    if (is != was) shard.add(id, static_cast<double>(is - was));
  };
  for (size_t i = 0; i < kLeaveReasons; ++i) add(batches_[i], before.left[i], now.left[i]);
  add(cancelled_, before.cancelled, now.cancelled);
  add(expired_, before.expired, now.expired);
  add(hopeless_, before.hopeless, now.hopeless);
  add(rejected_full_, before.rejected_full, now.rejected_full);
  add(rejected_draining_, before.rejected_drain, now.rejected_drain);
  add(rejected_open_, before.rejected_open, now.rejected_open);
  add(retried_rows_, before.retried_rows, now.retried_rows);
  add(retried_calls_, before.retried_calls, now.retried_calls);
  add(budget_refused_, before.budget_refused, now.budget_refused);
  add(splits_, before.splits, now.splits);
  add(split_calls_, before.split_calls, now.split_calls);
  add(failed_open_, before.failed_open, now.failed_open);
  for (size_t i = 0; i < kFailures; ++i) add(failures_[i], before.failures[i], now.failures[i]);
  for (size_t i = 0; i < std::min(backends_.size(), now.backends.size()); ++i) {
    const BackendStats& is = now.backends[i];
    const uint64_t was = i < before.backends.size() ? before.backends[i].breaker_opens : 0;
    add(backends_[i].opens, was, is.breaker_opens);
    shard.set(backends_[i].slots, is.slots);
    shard.set(backends_[i].breaker, static_cast<double>(is.breaker));
  }
  shard.set(queue_items_, static_cast<double>(now.queued.items));
  shard.set(queue_bytes_, static_cast<double>(now.queued.bytes));
  shard.set(requests_in_flight_, static_cast<double>(now.requests_open));
}

}  // namespace sluice
