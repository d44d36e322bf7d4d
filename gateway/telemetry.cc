// SPDX-License-Identifier: Apache-2.0
#include "gateway/telemetry.h"

#include <string>

namespace sluice {
namespace {

constexpr int kStatuses[] = {200, 400, 401, 403, 404, 405, 408, 413, 414, 415,
                             417, 429, 431, 500, 501, 502, 503, 504, 505};
constexpr const char* kReasons[kLeaveReasons] = {"idle",   "items", "bytes",
                                                 "tokens", "held",  "drain"};

}  // namespace

Telemetry::Telemetry(Metrics& metrics) {
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

  const auto answered = [&](const std::string& code) {
    return metrics.counter("sluice_requests_total", "Answers sent, by HTTP status.",
                           {{"code", code}});
  };
  requests_.fill(answered("other"));
  for (const int status : kStatuses)
    requests_[static_cast<size_t>(status)] = answered(std::to_string(status));
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
  hopeless_ = rejected("deadline");
  retried_rows_ = metrics.counter("sluice_retried_rows_total", "Rows sent again after a failure.");
  const GaugeId build = metrics.gauge("sluice_build_info", "Always 1; the labels say which build.",
                                      {{"version", SLUICE_VERSION}});
  metrics.shard().set(build, 1);
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
  add(retried_rows_, before.retried_rows, now.retried_rows);
  shard.set(queue_items_, static_cast<double>(now.queued.items));
  shard.set(queue_bytes_, static_cast<double>(now.queued.bytes));
  shard.set(requests_in_flight_, static_cast<double>(now.requests_open));
}

}  // namespace sluice
