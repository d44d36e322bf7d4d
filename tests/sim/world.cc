// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <memory>
#include <utility>

#include "tests/sim/sim_client.h"
#include "tests/sim/sim_engine.h"

namespace sluice::sim {
namespace {

constexpr uint64_t kStepsMax = 3'000'000;  // a livelock fails instead of hanging

// Jobs run at some later moment, as on a thread of their own.
class SimOffload final : public Offload {
 public:
  explicit SimOffload(SimWorld& world) : world_(world) {}
  void run(std::function<void()> job) override {
    world_.after(world_.some(milliseconds(1)), std::move(job));
  }

 private:
  SimWorld& world_;
};

void check_end(const Gateway& gateway, const SimEngine& engine,
               const std::vector<std::unique_ptr<SimLoop>>& loops, Summary& summary) {
  const auto expect = [&](bool holds, const char* what) {
    if (!holds) summary.violations.emplace_back(what);
  };
  expect(gateway.bytes_held() == 0, "bytes are still held at the end");
  expect(!engine.busy(), "the engine is busy at the end");
  for (const auto& loop : loops)
    expect(loop->streams_open() == 0, "connections are open at the end");
  const std::string metrics = gateway.render_metrics();
  const auto shows = [&](const char* line) { return metrics.find(line) != std::string::npos; };
  expect(shows("\nsluice_requests_in_flight 0\n"), "requests are in flight at the end");
  expect(shows("\nsluice_queue_items 0\n"), "items are queued at the end");
}

}  // namespace

// Each seed switches a random part of the faults on and draws how bad they are.
Plan Plan::draw(uint64_t seed) {
  Prng prng(seed * 0x9e3779b97f4a7c15ull + 1);
  Plan plan;
  plan.seed = seed;
  const auto maybe = [&](double most) { return prng.chance(0.4) ? prng.unit() * most : 0.0; };
  plan.io_loops = prng.chance(0.5) ? 1 : 4;
  plan.clients = static_cast<size_t>(prng.between(1, 30));
  plan.requests = static_cast<size_t>(prng.between(20, 200));
  plan.service_a = microseconds(prng.between(0, 3000));
  plan.service_b = microseconds(prng.between(0, 200));
  if (seed % 3 == 0) plan.engine_lead = microseconds(static_cast<int64_t>(seed % 7) * 50 + 1);
  plan.service_slow = maybe(0.05);
  plan.engine_error = maybe(0.2);
  plan.engine_wrong = maybe(0.1);
  plan.leave = maybe(0.3);
  plan.reset = prng.unit();
  plan.garbage = maybe(0.1);
  plan.bad_body = maybe(0.2);
  plan.big = maybe(0.2);
  plan.deadline = maybe(0.5);
  plan.slow_reader = maybe(0.1);
  plan.pipelined = maybe(0.3);
  if (prng.chance(0.3)) plan.drain_after = milliseconds(prng.between(1, 200));
  plan.faults.latency_max = microseconds(prng.between(1, 500));
  plan.faults.one_byte = maybe(0.05);
  plan.faults.split = maybe(0.5);
  // On a coarse clock arrivals, deadlines and completions often fall on the same instant.
  if (prng.chance(0.3)) plan.faults.coarse = microseconds(100);

  ModelConfig model;
  model.backends.emplace_back().echo = EchoTimes{};
  model.batch.items_max = static_cast<uint64_t>(prng.between(1, 64));
  model.batch.bytes_max = prng.chance(0.3) ? 200 : 1 << 20;
  if (prng.chance(0.2)) model.batch.wait_max = milliseconds(prng.between(1, 5));
  model.queue.items_max = static_cast<uint64_t>(prng.between(64, 600));
  model.queue.tenant_items_max = model.queue.items_max;
  plan.config.models.push_back(std::move(model));
  plan.config.listen.port = 0;
  plan.config.admin.reset();
  if (prng.chance(0.2)) plan.config.limits.bytes_held_max = 8 * 1024;
  if (prng.chance(0.1)) plan.config.limits.connections_max = 3;
  finish_config(plan.config);
  return plan;
}

Summary run(const Plan& plan) {
  Summary summary;
  SimWorld world(plan.seed);
  world.faults = plan.faults;
  SimOffload offload(world);
  Log log({.level = LogLevel::kError}, [&] { return world.now(); }, [](std::string_view) {});
  std::vector<std::unique_ptr<SimLoop>> loops;
  std::vector<Loop*> io;
  for (size_t i = 0; i < plan.io_loops; ++i)
    io.push_back(loops.emplace_back(std::make_unique<SimLoop>(world)).get());
  if (plan.io_loops > 1) loops.push_back(std::make_unique<SimLoop>(world));  // the core's own
  auto gateway = std::make_unique<Gateway>(
      plan.config, plan.seed,
      Gateway::World{.core = loops.back().get(), .io = io, .offload = &offload, .log = &log});

  SimEngine engine(world,
                   {.a = plan.service_a,
                    .b = plan.service_b,
                    .slow = plan.service_slow,
                    .error = plan.engine_error,
                    .wrong = plan.engine_wrong,
                    .items_max = plan.config.models[0].batch.items_max,
                    .bytes_max = plan.config.models[0].batch.bytes_max,
                    .lead = plan.engine_lead},
                   gateway->sink(),
                   [&](std::string what) { summary.violations.push_back(std::move(what)); });
  std::vector<ServedModel> models;
  models.push_back({.name = "echo", .aliases = {}, .model = std::make_shared<EmbeddedEcho>()});
  if (!gateway->open(std::move(models), {&engine}).ok())
    summary.violations.emplace_back("the gateway did not open");

  std::optional<Instant> drain_began;
  bool drained = false;
  const auto drain = [&] {
    if (drain_began) return;
    drain_began = world.now();
    gateway->drain([&] { drained = true; });
  };
  std::vector<SimLoop*> targets;
  for (size_t i = 0; i < plan.io_loops; ++i) targets.push_back(loops[i].get());
  std::vector<std::unique_ptr<SimClient>> clients;
  for (size_t i = 0; i < plan.clients; ++i) {
    clients.push_back(
        std::make_unique<SimClient>(SimClient::World{.sim = &world,
                                                     .plan = &plan,
                                                     .loops = targets,
                                                     .port = gateway->main_address().port,
                                                     .summary = &summary,
                                                     .drain_began = &drain_began},
                                    i, plan.requests / plan.clients + 1));
    clients.back()->start();
  }
  if (plan.drain_after) world.after(*plan.drain_after, drain);

  const auto all_finished = [&] {
    for (const auto& client : clients) {
      if (!client->finished()) return false;
    }
    return true;
  };
  while (world.steps() < kStepsMax && !(drained && all_finished()) && world.step()) {
    if (!drain_began && all_finished()) drain();
  }
  if (!drained) summary.violations.emplace_back("the gateway never drained");
  if (!all_finished()) summary.violations.emplace_back("a client waits for ever");
  // Lingering connections and timers that were set end by themselves.
  while (world.steps() < kStepsMax && world.step()) {
  }
  check_end(*gateway, engine, loops, summary);
  clients.clear();
  summary.trace_hash = world.trace_hash();
  summary.batches = engine.batches();
  summary.rows = engine.rows();
  gateway.reset();
  return summary;
}

}  // namespace sluice::sim
