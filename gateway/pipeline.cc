// SPDX-License-Identifier: Apache-2.0
#include "gateway/pipeline.h"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/dispatcher.h"
#include "gateway/models.h"
#include "gateway/offload_thread.h"
#include "gateway/server.h"
#include "gateway/uv_loop.h"

namespace sluice {
namespace {

// One I/O loop and what lives on it. With one of them it runs on the main thread, beside the core.
struct Io {
  UvLoop* loop = nullptr;
  std::unique_ptr<UvLoop> own_loop;  // where it is not the core's
  std::unique_ptr<Server> server;
  std::thread thread;
  // Written by this I/O thread, read by the core's thread while draining.
  std::atomic<bool> reading{true};
  std::atomic<bool> busy{true};
};

}  // namespace

struct Pipeline::Impl {
  Impl(const Config& c, Log& l)
      : config(c), log(l), budget(c.limits.bytes_held_max), core_loop(l), events([this] {
          wake_core();
        }) {}
  ~Impl();

  Result<Done> start(uint64_t id_seed);
  void add_io(size_t index, uint64_t id_seed, const Server::World& shared);
  Result<Done> listen();
  void wake_core();
  void core_turn();
  void io_turn(Io& io);
  void begin_drain();
  void check_drained();
  void stop();

  const Config config;
  Log& log;
  Metrics metrics;
  Telemetry telemetry{metrics};
  ByteBudget budget;
  UvLoop core_loop;
  const std::thread::id core_thread = std::this_thread::get_id();
  bool posted_here = false;  // mail for the core came from the core's own thread
  Mailbox<Event> events;
  LoadedModels models;
  std::unique_ptr<Api> api;
  std::unique_ptr<OffloadThread> offload = std::make_unique<OffloadThread>();
  std::vector<std::unique_ptr<Io>> ios;
  std::unique_ptr<Dispatcher> dispatcher;
  std::unique_ptr<Timer> drain_timer;
  std::atomic<bool> draining{false};
  bool core_draining = false;
  Address main_address;
  std::optional<Address> admin_address;
};

Pipeline::Impl::~Impl() {
  for (auto& io : ios) {
    if (io->thread.joinable()) {
      io->loop->stop();
      io->thread.join();
    }
  }
  // Both join threads that may still post to what is destroyed next.
  offload.reset();
  models.engines.clear();
}

// The core's own thread needs no wake-up: its turn handler looks at the mail in any case.
void Pipeline::Impl::wake_core() {
  if (std::this_thread::get_id() == core_thread) {
    posted_here = true;
  } else {
    core_loop.wake();
  }
}

Result<Done> Pipeline::Impl::start(uint64_t id_seed) {
  Result<LoadedModels> loaded =
      load_models(config, engine_mail(events), [] { return UvLoop::clock(); }, log);
  if (!loaded.ok()) return loaded.error();
  models = std::move(loaded).value();
  api = std::make_unique<Api>(Api::Options{.models = models.served,
                                           .started_unix_seconds = core_loop.unix_seconds(),
                                           .render_metrics = [this] { return metrics.render(); }});
  const Server::World shared{.api = api.get(),
                             .core = &events,
                             .budget = &budget,
                             .offload = offload.get(),
                             .telemetry = &telemetry,
                             .shard = nullptr,
                             .log = &log};
  for (size_t i = 0; i < config.io_threads; ++i) add_io(i, id_seed, shared);
  if (auto listening = listen(); !listening.ok()) return listening.error();

  std::vector<uint32_t> slots;
  Dispatcher::Options options;
  options.telemetry = &telemetry;
  options.shard = &metrics.shard();
  for (const auto& engine : models.engines) {
    slots.push_back(engine->slots());
    options.engines.push_back(engine.get());
  }
  for (const auto& io : ios) options.replies.push_back(&io->server->replies());
  options.core = core_options(config, slots);
  dispatcher = std::make_unique<Dispatcher>(core_loop, events, std::move(options));

  core_loop.on_turn([this] { core_turn(); });
  for (const auto& io : ios) {
    if (!io->own_loop) continue;
    io->loop->on_turn([this, &io = *io] { io_turn(io); });
    io->thread = std::thread([loop = io->loop] { loop->run(); });
  }
  api->set_phase(Phase::kReady);
  return Done{};
}

void Pipeline::Impl::add_io(size_t index, uint64_t id_seed, const Server::World& shared) {
  auto io = std::make_unique<Io>();
  if (config.io_threads == 1) {
    io->loop = &core_loop;
  } else {
    io->own_loop = std::make_unique<UvLoop>(log);
    io->loop = io->own_loop.get();
  }
  Server::World world = shared;
  world.shard = &metrics.shard();
  const bool alone = !io->own_loop;
  io->server = std::make_unique<Server>(
      *io->loop,
      Server::Options{.index = static_cast<uint8_t>(index),
                      .limits = config.limits.connection,
                      .connections_max = (config.limits.connections_max + config.io_threads - 1) /
                                         config.io_threads,
                      .id_seed = id_seed},
      world, [loop = io->loop, alone, this] {
        if (alone && std::this_thread::get_id() == core_thread) {
          posted_here = true;
        } else {
          loop->wake();
        }
      });
  ios.push_back(std::move(io));
}

// The first listener takes a free port where 0 was asked for, the others share it. The admin
// listener is the first loop's: it carries a scrape now and then.
Result<Done> Pipeline::Impl::listen() {
  main_address = config.listen;
  for (const auto& io : ios) {
    Result<Address> address = io->server->listen(Surface::kMain, main_address, ios.size() > 1);
    if (!address.ok()) return address.error();
    main_address = address.value();
  }
  if (!config.admin) return Done{};
  Result<Address> address = ios[0]->server->listen(Surface::kAdmin, *config.admin, false);
  if (!address.ok()) return address.error();
  admin_address = address.value();
  return Done{};
}

// One turn of the core's loop. Where the I/O thread shares it, requests that arrived in this turn
// are seen together by one step, and what that step answers goes out in the same turn.
void Pipeline::Impl::core_turn() {
  Io* shared = ios[0]->own_loop ? nullptr : ios[0].get();
  if (shared != nullptr) io_turn(*shared);
  posted_here = false;
  dispatcher->turn();
  if (shared != nullptr) io_turn(*shared);
  if (posted_here) core_loop.wake();
  if (draining) check_drained();
}

void Pipeline::Impl::io_turn(Io& io) {
  if (draining && !io.server->draining()) io.server->drain();
  io.server->turn();
  if (!draining) return;
  io.reading = io.server->reading();
  io.busy = io.server->busy();
  if (io.own_loop) core_loop.wake();
}

void Pipeline::Impl::begin_drain() {
  if (draining) std::_Exit(1);  // the second signal
  log.info("draining");
  draining = true;
  api->set_phase(Phase::kDraining);
  drain_timer = core_loop.timer([this] {
    log.warn("drain_max has passed, ending with requests unanswered");
    stop();
  });
  drain_timer->again(core_loop.now() + config.limits.drain_max);
  for (const auto& io : ios) io->loop->wake();
}

void Pipeline::Impl::check_drained() {
  bool reading = false;
  bool busy = false;
  for (const auto& io : ios) {
    reading |= io->reading;
    busy |= io->busy;
  }
  // Only when every request has been read: until then all of them are still welcome.
  if (!reading && !std::exchange(core_draining, true)) events.post(Draining{});
  if (!busy && dispatcher->idle()) stop();
}

void Pipeline::Impl::stop() {
  for (const auto& io : ios) io->loop->stop();
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

Address Pipeline::main_address() const { return impl_->main_address; }

std::optional<Address> Pipeline::admin_address() const { return impl_->admin_address; }

void Pipeline::run() {
  impl_->core_loop.on_signal(SIGTERM, [this] { impl_->begin_drain(); });
  impl_->core_loop.on_signal(SIGINT, [this] { impl_->begin_drain(); });
  impl_->core_loop.on_signal(SIGHUP, [this] {
    impl_->log.warn("SIGHUP: this version does not reload its configuration; restart it instead");
  });
  impl_->core_loop.run();
  impl_->log.info("stopped");
}

}  // namespace sluice
