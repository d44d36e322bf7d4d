// SPDX-License-Identifier: Apache-2.0
#pragma once
// Upstreams: the HTTP endpoints of the configuration, read once and shared by all loops; and
// LoopUpstreams: the connections to them that one loop owns.

#include <memory>
#include <string>
#include <vector>

#include "backends/call.h"
#include "backends/dialect_json.h"
#include "backends/http_client.h"
#include "base/result.h"
#include "base/tls.h"
#include "batcher/row.h"
#include "gateway/config.h"
#include "gateway/passthrough.h"
#include "gateway/telemetry.h"

namespace sluice {

// One endpoint. Immutable.
struct Upstream {
  UpstreamConfig config;
  CallTarget target;
  std::unique_ptr<Dialect> json;  // target.dialect, where its settings make it
};

// By BackendIndex; null where a backend is a model in this process.
class Upstreams {
 public:
  // kInvalid, naming the backend, if one cannot be.
  static Result<Upstreams> make(const Config& config);

  // The endpoint of a backend; null if that is no endpoint.
  const Upstream* find(BackendIndex backend) const {
    return backend < all_.size() ? all_[backend].get() : nullptr;
  }
  size_t size() const { return all_.size(); }
  // The backend and the model of what is passed through, if anything is.
  std::optional<BackendIndex> passthrough() const { return passthrough_; }
  std::optional<ModelIndex> passthrough_model() const { return passthrough_model_; }

 private:
  std::vector<std::unique_ptr<Upstream>> all_;
  std::optional<BackendIndex> passthrough_;
  std::optional<ModelIndex> passthrough_model_;
};

// What one loop has of them. Lives on that loop.
class LoopUpstreams {
 public:
  // kInvalid if a certificate cannot be read. Both outlive it.
  static Result<std::unique_ptr<LoopUpstreams>> make(Loop& loop, const Upstreams& upstreams);
  // REQUIRES: find(backend) is an endpoint
  HttpPool& pool(BackendIndex backend) { return *pools_[backend]; }
  const Upstream& upstream(BackendIndex backend) const { return *upstreams_.find(backend); }
  // Shows what has changed in the pools since the last call.
  void publish(const Telemetry& telemetry, MetricsShard& shard);
  const PassTarget* pass_target() const { return pass_.pool != nullptr ? &pass_ : nullptr; }
  std::optional<BackendIndex> passthrough() const { return upstreams_.passthrough(); }
  std::optional<ModelIndex> passthrough_model() const { return upstreams_.passthrough_model(); }

 private:
  explicit LoopUpstreams(const Upstreams& upstreams) : upstreams_(upstreams) {}

  const Upstreams& upstreams_;
  std::unique_ptr<Dialer> dialer_;
  std::vector<std::unique_ptr<TlsContext>> tls_;
  std::vector<std::unique_ptr<HttpPool>> pools_;
  std::vector<HttpPool::Stats> published_;  // of each pool
  TlsContext::Stats handshakes_published_;
  uint64_t lookups_published_ = 0;
  PassTarget pass_;
};

}  // namespace sluice
