// SPDX-License-Identifier: Apache-2.0
#include "gateway/upstreams.h"

#include <algorithm>
#include <utility>

namespace sluice {

namespace {

Result<std::unique_ptr<Upstream>> make_upstream(const BackendConfig& backend, std::string name) {
  auto upstream = std::make_unique<Upstream>();
  upstream->config = backend.upstream;
  const UpstreamConfig& config = upstream->config;
  Result<Origin> origin = parse_origin(config.url);
  if (!origin.ok()) return origin.error();
  upstream->target = {.name = std::move(name),
                      .origin = std::move(origin).value(),
                      .dialect = find_dialect(config.dialect),
                      .headers = config.headers};
  if (config.dialect == "json") {
    const JsonDialectOptions options{.paths = config.json_paths,
                                     .items = config.json_items,
                                     .answers = config.json_answers,
                                     .single = config.json_single};
    if (auto error = check_json_options(options)) {
      error->message = "json." + error->param + ": " + error->message;
      return std::move(*error);
    }
    upstream->json = make_json_dialect(options);
    upstream->target.dialect = upstream->json.get();
  }
  return upstream;
}

HttpPool::Options pool_options(const Upstream& upstream, TlsContext* tls, bool passthrough) {
  const UpstreamConfig& config = upstream.config;
  HttpPool::Options options;
  options.origin = upstream.target.origin;
  options.tls = tls;
  options.limits = {.connections_max = config.connections_max,
                    .idle_max = config.idle_connections_max,
                    .idle_timeout = config.keep_alive,
                    .age_max = config.age_max};
  options.timeouts = config.timeouts;
  if (passthrough) {
    options.timeouts.total = {};  // a stream may go on for as long as it lives
  } else {
    options.response.body_bytes_max = config.response_bytes_max;
  }
  return options;
}

}  // namespace

Result<Upstreams> Upstreams::make(const Config& config) {
  Upstreams made;
  for (const ModelConfig& model : config.models) {
    for (const BackendConfig& backend : model.backends) {
      auto& place = made.all_.emplace_back();
      if (backend.kind != BackendConfig::Kind::kHttp) continue;
      Result<std::unique_ptr<Upstream>> upstream = make_upstream(backend, model.name);
      if (!upstream.ok()) return upstream.error();
      place = std::move(upstream).value();
    }
  }
  if (!config.passthrough) return made;
  made.passthrough_ = static_cast<BackendIndex>(made.all_.size());
  made.passthrough_model_ = static_cast<ModelIndex>(config.models.size());
  Result<std::unique_ptr<Upstream>> upstream = make_upstream(*config.passthrough, "passthrough");
  if (!upstream.ok()) return upstream.error();
  made.all_.push_back(std::move(upstream).value());
  return made;
}

Result<std::unique_ptr<LoopUpstreams>> LoopUpstreams::make(Loop& loop, const Upstreams& upstreams) {
  std::unique_ptr<LoopUpstreams> made(new LoopUpstreams(upstreams));
  made->dialer_ = Dialer::make(loop, {});
  for (BackendIndex i = 0; i < upstreams.size(); ++i) {
    auto& pool = made->pools_.emplace_back();
    const Upstream* upstream = upstreams.find(i);
    if (upstream == nullptr) continue;
    TlsContext* tls = nullptr;
    if (upstream->target.origin.tls) {
      Result<std::unique_ptr<TlsContext>> context = TlsContext::make(upstream->config.tls);
      if (!context.ok()) return context.error();
      tls = made->tls_.emplace_back(std::move(context).value()).get();
    }
    const bool passthrough = i == upstreams.passthrough();
    pool = HttpPool::make(loop, *made->dialer_, pool_options(*upstream, tls, passthrough));
    if (passthrough)
      made->pass_ = {
          .origin = upstream->target.origin, .pool = pool.get(), .config = &upstream->config};
  }
  made->published_.resize(made->pools_.size());
  return made;
}

void LoopUpstreams::publish(const Telemetry& telemetry, MetricsShard& shard) {
  for (BackendIndex i = 0; i < pools_.size(); ++i) {
    if (!pools_[i]) continue;
    const HttpPool::Stats now = pools_[i]->stats();
    if (now == published_[i]) continue;
    telemetry.publish_upstream(shard, i, published_[i], now);
    published_[i] = now;
  }
  TlsContext::Stats handshakes;
  for (const auto& context : tls_) {
    handshakes.full += context->stats().full;
    handshakes.resumed += context->stats().resumed;
  }
  const auto add = [&](CounterId id, uint64_t& was, uint64_t is) {
    if (is != was) shard.add(id, static_cast<double>(is - std::exchange(was, is)));
  };
  add(telemetry.handshakes_full, handshakes_published_.full, handshakes.full);
  add(telemetry.handshakes_resumed, handshakes_published_.resumed, handshakes.resumed);
  add(telemetry.lookups, lookups_published_, dialer_->lookups());
}

}  // namespace sluice
