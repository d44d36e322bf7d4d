// SPDX-License-Identifier: Apache-2.0
#include "gateway/pipeline.h"

#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/gateway.h"
#include "gateway/models.h"
#include "gateway/offload_thread.h"
#include "gateway/uv_loop.h"

namespace sluice {

// Members are destroyed from the last to the first; what others still use is destroyed by hand
// before, in ~Impl().
struct Pipeline::Impl {
  Impl(const Config& c, Log& l) : config(c), log(l), core_loop(l) {}
  ~Impl();

  Result<Done> start(uint64_t id_seed);
  void on_stop_signal();
  void stop();

  const Config config;
  Log& log;
  UvLoop core_loop;                               // also the I/O loop if there is one I/O thread
  std::vector<std::unique_ptr<UvLoop>> io_loops;  // else these, a thread each
  std::unique_ptr<OffloadThread> offload = std::make_unique<OffloadThread>();
  std::unique_ptr<Gateway> gateway;
  LoadedModels models;
  std::vector<std::thread> io_threads;
  std::unique_ptr<Timer> drain_timer;
  bool drained = false;
};

Pipeline::Impl::~Impl() {
  stop();
  for (std::thread& thread : io_threads) thread.join();
  // Both join threads that may still post mail to the gateway.
  offload.reset();
  models.engines.clear();
}

Result<Done> Pipeline::Impl::start(uint64_t id_seed) {
  std::vector<Loop*> io;
  for (uint64_t i = 0; config.io_threads > 1 && i < config.io_threads; ++i)
    io.push_back(io_loops.emplace_back(std::make_unique<UvLoop>(log)).get());
  if (io.empty()) io.push_back(&core_loop);
  gateway = std::make_unique<Gateway>(
      config, id_seed,
      Gateway::World{.core = &core_loop, .io = io, .offload = offload.get(), .log = &log});

  Result<LoadedModels> loaded =
      load_models(config, gateway->sink(), [] { return UvLoop::clock(); }, log);
  if (!loaded.ok()) return loaded.error();
  models = std::move(loaded).value();
  std::vector<Engine*> engines;
  engines.reserve(models.engines.size());
  for (const auto& engine : models.engines) engines.push_back(engine.get());
  if (auto opened = gateway->open(models.served, engines, models.devices); !opened.ok())
    return opened.error();

  // From the first promise on stdout a signal means a drain.
  core_loop.on_signal(SIGTERM, [this] { on_stop_signal(); });
  core_loop.on_signal(SIGINT, [this] { on_stop_signal(); });
  core_loop.on_signal(SIGHUP, [this] {
    log.warn("SIGHUP: this version does not reload its configuration; restart it instead");
  });
  for (const auto& loop : io_loops) io_threads.emplace_back([loop = loop.get()] { loop->run(); });
  return Done{};
}

void Pipeline::Impl::on_stop_signal() {
  if (gateway->draining()) std::_Exit(1);  // the second signal
  log.info("draining");
  drain_timer = core_loop.timer([this] {
    log.warn("drain_max has passed; some requests were not answered");
    stop();
  });
  drain_timer->again(core_loop.now() + config.limits.drain_max);
  gateway->drain([this] {
    drained = true;
    stop();
  });
}

void Pipeline::Impl::stop() {
  for (const auto& loop : io_loops) loop->stop();
  core_loop.stop();
}

Pipeline::Pipeline(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pipeline::~Pipeline() = default;

Result<std::unique_ptr<Pipeline>> Pipeline::start(const Config& config, uint64_t id_seed,
                                                  Log& log) {
  auto impl = std::make_unique<Impl>(config, log);
  if (auto started = impl->start(id_seed); !started.ok()) return started.error();
  return std::unique_ptr<Pipeline>(new Pipeline(std::move(impl)));
}

Address Pipeline::main_address() const { return impl_->gateway->main_address(); }

std::optional<Address> Pipeline::admin_address() const { return impl_->gateway->admin_address(); }

bool Pipeline::run() {
  impl_->core_loop.run();
  impl_->log.info("stopped");
  return impl_->drained;
}

}  // namespace sluice
