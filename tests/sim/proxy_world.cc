// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/proxy_world.h"

#include <utility>

namespace sluice::sim {
namespace {

constexpr uint64_t kStepsMax = 3'000'000;  // a livelock fails instead of hanging

}  // namespace

double sum_of(const std::string& metrics, const std::string& name) {
  double sum = 0;
  for (size_t at = metrics.find('\n' + name + '{'); at != std::string::npos;
       at = metrics.find('\n' + name + '{', at + 1))
    sum += std::stod(metrics.substr(metrics.find("} ", at) + 2, 30));
  return sum;
}

// Jobs run at some later moment, as on a thread of their own.
class ProxyWorld::LaterOffload final : public Offload {
 public:
  explicit LaterOffload(SimWorld& world) : world_(world) {}
  void run(std::function<void()> job) override {
    world_.after(world_.some(milliseconds(1)), std::move(job));
  }

 private:
  SimWorld& world_;
};

Config proxy_config(bool tei) {
  Config config;
  config.listen.port = 0;
  config.admin.reset();
  ModelConfig& model = config.models.emplace_back();
  model.name = kAnyModel;
  BackendConfig& backend = model.backends.emplace_back();
  backend.kind = BackendConfig::Kind::kHttp;
  backend.upstream.url = SimEndpoint::kUrl;
  backend.upstream.dialect = tei ? "tei" : "openai";
  config.passthrough = backend;
  return config;
}

bool ProxyPlan::faulty() const {
  const SimEndpoint::Faults& e = endpoint.faults;
  const SimUpstream::Faults& u = upstream;
  return e.busy + e.throttled + e.broken + e.miscounted + e.misplaced + e.truncated + e.surplus +
                 e.twice + e.chat_cut + u.refuse + u.ignore + u.reset_before + u.cut +
                 u.close_after >
             0 ||
         tight;
}

// Each seed switches a random part of the faults on and draws how bad they are.
ProxyPlan ProxyPlan::draw(uint64_t seed) {
  Prng prng(seed * 0x9e3779b97f4a7c15ull + 2);
  ProxyPlan plan;
  plan.seed = seed;
  const auto maybe = [&](double most) { return prng.chance(0.3) ? prng.unit() * most : 0.0; };
  plan.tei = prng.chance(0.2);
  plan.io_loops = prng.chance(0.5) ? 1 : 4;
  plan.clients = static_cast<size_t>(prng.between(1, 20));
  plan.requests = static_cast<size_t>(prng.between(20, 120));
  plan.people = static_cast<size_t>(prng.between(1, 4));
  plan.chat = maybe(0.6);
  plan.poison = maybe(0.1);
  plan.leave = maybe(0.3);
  plan.deadline = maybe(0.3);
  plan.slow_reader = maybe(0.3);
  plan.faults.latency_max = microseconds(prng.between(1, 500));
  plan.faults.one_byte = maybe(0.02);
  plan.faults.split = maybe(0.4);
  if (prng.chance(0.3)) plan.faults.coarse = microseconds(100);

  SimEndpoint::Faults& endpoint = plan.endpoint.faults;
  endpoint = {.busy = maybe(0.1),
              .throttled = maybe(0.1),
              .broken = maybe(0.1),
              .miscounted = maybe(0.1),
              .misplaced = maybe(0.1),
              .truncated = maybe(0.1),
              .surplus = maybe(0.2),
              .twice = maybe(0.2),
              .slow = maybe(0.05),
              .chat_cut = maybe(0.05)};
  plan.upstream = {.refuse = maybe(0.3),
                   .ignore = maybe(0.02),
                   .reset_before = maybe(0.1),
                   .cut = maybe(0.1),
                   .close_after = maybe(0.3),
                   .delay_max = microseconds(prng.between(0, 300))};
  // A second answer that arrives after the first looks like the next one's: only what comes with
  // the first can be told from it.
  if (endpoint.twice > 0) plan.faults.one_byte = plan.faults.split = 0;

  plan.config = proxy_config(plan.tei);
  ModelConfig& model = plan.config.models[0];
  model.batch.items_max = static_cast<uint64_t>(prng.between(1, 40));
  if (prng.chance(0.2)) model.batch.bytes_max = 300;
  if (prng.chance(0.2)) model.batch.wait_max = milliseconds(prng.between(1, 5));
  UpstreamConfig& upstream = model.backends[0].upstream;
  upstream.slots = static_cast<uint64_t>(prng.between(1, 4));
  upstream.repeatable = prng.chance(0.8);
  upstream.bisect_5xx = prng.chance(0.2);
  if (prng.chance(0.2)) upstream.connections_max = 1;
  if (prng.chance(0.2)) upstream.idle_connections_max = 0;
  plan.endpoint.a = microseconds(prng.between(0, 5000));
  plan.endpoint.b = microseconds(prng.between(0, 200));
  plan.endpoint.slots = static_cast<uint32_t>(upstream.slots);
  plan.endpoint.items_max = model.batch.items_max;
  plan.tight = prng.chance(0.1);
  if (plan.tight) {
    model.queue.items_max = static_cast<uint64_t>(prng.between(1, 30));
    plan.config.limits.bytes_held_max = static_cast<uint64_t>(prng.between(8, 64)) * 1024;
    model.queue.bytes_max = plan.config.limits.bytes_held_max;
  }
  finish_config(plan.config);
  return plan;
}

ProxyWorld::ProxyWorld(const ProxyPlan& plan, std::function<void(std::string)> violation)
    : plan_(plan),
      violation_(std::move(violation)),
      sim_(plan.seed),
      endpoint_(sim_, plan.endpoint, violation_),
      offload_(std::make_unique<LaterOffload>(sim_)),
      log_({.level = LogLevel::kError}, [this] { return sim_.now(); }, [](std::string_view) {}) {
  sim_.faults = plan.faults;
  endpoint_.upstream().faults = plan.upstream;
  std::vector<Loop*> io;
  for (size_t i = 0; i < plan.io_loops; ++i)
    io.push_back(loops_.emplace_back(std::make_unique<SimLoop>(sim_)).get());
  if (plan.io_loops > 1) loops_.push_back(std::make_unique<SimLoop>(sim_));  // the core's own
  gateway_ = std::make_unique<Gateway>(
      plan.config, plan.seed,
      Gateway::World{
          .core = loops_.back().get(), .io = io, .offload = offload_.get(), .log = &log_});
  std::vector<ServedModel> models;
  models.push_back({.name = plan.config.models[0].name});
  const std::vector<Engine*> engines(plan.config.models[0].backends.size());
  if (!gateway_->open(std::move(models), engines).ok()) violation_("the gateway did not open");
}

ProxyWorld::~ProxyWorld() { gateway_.reset(); }

std::vector<SimLoop*> ProxyWorld::loops() const {
  std::vector<SimLoop*> io;
  for (size_t i = 0; i < plan_.io_loops; ++i) io.push_back(loops_[i].get());
  return io;
}

void ProxyWorld::drain() {
  if (!std::exchange(draining_, true)) gateway_->drain([this] { drained_ = true; });
}

void ProxyWorld::run(const std::function<bool()>& done) {
  while (sim_.steps() < kStepsMax && !done() && sim_.step()) {
  }
  if (!done()) violation_("a client waits for ever");
  drain();
  while (sim_.steps() < kStepsMax && sim_.step()) {  // connections that are kept end by themselves
  }
  if (!drained_) violation_("the gateway never drained");
  check_end();
}

void ProxyWorld::check_end() {
  const auto expect = [&](bool holds, const char* what) {
    if (!holds) violation_(what);
  };
  expect(gateway_->bytes_held() == 0, "bytes are still held at the end");
  for (const auto& loop : loops_)
    expect(loop->streams_open() == 0, "connections are open at the end");
  expect(endpoint_.upstream().connections_open() == 0, "the endpoint has connections at the end");
  expect(endpoint_.running() == 0, "the endpoint has calls at the end");
  for (const std::string& what : endpoint_.upstream().violations()) violation_(what);
  const std::string metrics = gateway_->render_metrics();
  const auto shows = [&](const char* line) { return metrics.find(line) != std::string::npos; };
  expect(shows("\nsluice_requests_in_flight 0\n"), "requests are in flight at the end");
  expect(shows("\nsluice_queue_items 0\n"), "items are queued at the end");
  expect(sum_of(metrics, "sluice_upstream_connections") == 0, "connections are shown at the end");
  expect(sum_of(metrics, "sluice_upstream_connections_opened_total") ==
             sum_of(metrics, "sluice_upstream_connections_closed_total"),
         "connections that were made have not ended, or for two reasons");
}

ProxySummary run(const ProxyPlan& plan) {
  ProxySummary summary;
  ProxyWorld world(plan, [&](std::string what) { summary.violations.push_back(std::move(what)); });
  std::vector<std::unique_ptr<ProxyClient>> clients;
  for (size_t i = 0; i < plan.clients; ++i) {
    clients.push_back(std::make_unique<ProxyClient>(ProxyClient::World{.sim = &world.sim(),
                                                                       .plan = &plan,
                                                                       .loops = world.loops(),
                                                                       .port = world.port(),
                                                                       .summary = &summary},
                                                    i, plan.requests / plan.clients + 1));
    clients.back()->start();
  }
  world.run([&] {
    for (const auto& client : clients) {
      if (!client->finished()) return false;
    }
    return true;
  });
  summary.trace_hash = world.sim().trace_hash();
  summary.tokens = world.endpoint().tokens();
  summary.calls = world.endpoint().calls();
  summary.items = world.endpoint().items();
  return summary;
}

}  // namespace sluice::sim
