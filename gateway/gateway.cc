// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway.h"

#include <algorithm>
#include <utility>

#include "gateway/headers.h"

namespace sluice {

Gateway::Gateway(const Config& config, uint64_t id_seed, World world)
    : config_(config),
      world_(std::move(world)),
      telemetry_(metrics_, backend_names(config), endpoints_of(config)),
      scrape_(metrics_.shard()),
      budget_(config.limits.bytes_held_max),
      events_([core = world_.core] { core->wake(); }),
      id_seed_(id_seed) {}

Gateway::~Gateway() = default;

Result<Done> Gateway::open(std::vector<ServedModel> models, const std::vector<Engine*>& engines,
                           std::vector<Device> devices) {
  Result<Upstreams> upstreams = Upstreams::make(config_);
  if (!upstreams.ok()) return upstreams.error();
  upstreams_ = std::move(upstreams).value();
  describe_upstreams(models);
  devices_ = std::make_unique<Devices>(*world_.core, std::move(devices));
  Api::Options api;
  api.models = std::move(models);
  api.passthrough = upstreams_.passthrough().has_value();
  api.started_unix_seconds = world_.core->unix_seconds();
  api.backends = backend_names(config_);
  api.render_metrics = [this] { return render_metrics(); };
  api_ = std::make_unique<Api>(std::move(api));
  Dispatcher::Options options;
  options.core = options_for(engines);
  options.engines = engines;
  options.engines.resize(options.core.backends.size());  // what is passed through is the last
  options.telemetry = &telemetry_;
  options.shard = &metrics_.shard();
  const bool shadowed = std::ranges::any_of(
      config_.models, [](const ModelConfig& model) { return model.merge == MergeMode::kShadow; });
  if (shadowed)
    shadow_ = std::make_unique<Shadow>(*world_.core, options.core, telemetry_, *options.shard);
  for (Loop* loop : world_.io) {
    if (auto added = add_io(loop, id_seed_); !added.ok()) return added.error();
  }
  if (auto listening = listen(); !listening.ok()) return listening.error();
  for (const auto& io : io_) {
    options.replies.push_back(&io->server->replies());
    options.orders.push_back(&io->server->orders());
  }
  dispatcher_ = std::make_unique<Dispatcher>(*world_.core, events_, std::move(options));

  world_.core->on_turn([this] { core_turn(); });
  if (!shared()) {
    for (const auto& io : io_) io->loop->on_turn([this, &io = *io] { io_turn(io); });
  }
  api_->set_phase(Phase::kReady);
  return Done{};
}

std::string Gateway::render_metrics() const {
  scrape_.set(telemetry_.bytes_held, static_cast<double>(budget_.held()));
  return metrics_.render() + (devices_ ? devices_->render() : std::string());
}

// What the configuration says of each model's endpoints.
void Gateway::describe_upstreams(std::vector<ServedModel>& models) const {
  BackendIndex backend = 0;
  for (size_t m = 0; m < models.size(); ++m) {
    models[m].merge = config_.models[m].merge;
    for (size_t b = 0; b < config_.models[m].backends.size(); ++b, ++backend) {
      const Upstream* upstream = upstreams_.find(backend);
      if (upstream == nullptr) continue;
      models[m].upstreams.push_back(upstream->target.dialect);
      models[m].own_credentials |= std::ranges::any_of(
          upstream->config.headers, [](const auto& header) { return is_credential(header.first); });
    }
  }
}

// What the core is told of these engines, which are told where to report.
CoreOptions Gateway::options_for(const std::vector<Engine*>& engines) {
  std::vector<uint32_t> slots;
  slots.reserve(engines.size());
  for (BackendIndex i = 0; i < engines.size(); ++i) slots.push_back(slots_of(engines[i], i));
  CoreOptions options = core_options(config_, slots);
  for (BackendIndex i = 0; i < engines.size(); ++i) {
    if (engines[i] == nullptr || !engines[i]->tells_ending()) continue;
    options.backends[i].late_binding = true;
    engines[i]->on_ending([this](CallId call) { events_.post(CallEnding{call}); });
  }
  return options;
}

uint32_t Gateway::slots_of(const Engine* engine, BackendIndex backend) const {
  if (engine != nullptr) return engine->slots();
  const uint64_t slots = upstreams_.find(backend)->config.slots;
  return slots > 0 ? static_cast<uint32_t>(slots) : kSlotsDefault;
}

Result<Done> Gateway::add_io(Loop* loop, uint64_t id_seed) {
  auto io = std::make_unique<Io>();
  io->loop = loop;
  Server::World world;
  world.api = api_.get();
  world.core = &events_;
  world.budget = &budget_;
  world.offload = world_.offload;
  if (shadow_) world.shadow = &shadow_->mail();
  world.telemetry = &telemetry_;
  world.shard = &metrics_.shard();
  world.log = world_.log;
  const size_t threads = world_.io.size();
  const Server::Options options{
      .index = static_cast<uint8_t>(io_.size()),
      .limits = config_.limits.connection,
      .connections_max = (config_.limits.connections_max + threads - 1) / threads,
      .id_seed = id_seed};
  io->server = std::make_unique<Server>(*loop, options, world);
  if (upstreams_.size() > 0) {
    Result<std::unique_ptr<LoopUpstreams>> own = LoopUpstreams::make(*loop, upstreams_);
    if (!own.ok()) return own.error();
    io->server->use(std::move(own).value());
  }
  io_.push_back(std::move(io));
  return Done{};
}

// The first listener takes a free port where 0 was asked for, the others share it. The admin
// listener is the first loop's: it carries a scrape now and then.
Result<Done> Gateway::listen() {
  main_address_ = config_.listen;
  for (const auto& io : io_) {
    Result<Address> address = io->server->listen(Surface::kMain, main_address_, io_.size() > 1);
    if (!address.ok()) return address.error();
    main_address_ = address.value();
  }
  if (!config_.admin) return Done{};
  Result<Address> address = io_[0]->server->listen(Surface::kAdmin, *config_.admin, false);
  if (!address.ok()) return address.error();
  admin_address_ = address.value();
  return Done{};
}

// One turn of the core's loop. Where the I/O shares it, requests that arrived in this turn are seen
// together by one step, and what that step answers goes out in the same turn.
void Gateway::core_turn() {
  if (shared()) io_turn(*io_[0]);
  dispatcher_->turn();
  if (shadow_) shadow_->turn();
  if (shared()) io_turn(*io_[0]);
  if (draining()) check_drained();
}

void Gateway::io_turn(Io& io) {
  if (draining() && !io.server->draining()) io.server->drain();
  io.server->turn();
  if (!draining()) return;
  io.reading.store(io.server->reading(), std::memory_order_release);
  io.busy.store(io.server->busy(), std::memory_order_release);
  if (!shared()) world_.core->wake();
}

void Gateway::drain(std::function<void()> drained) {
  drained_ = std::move(drained);
  api_->set_phase(Phase::kDraining);
  draining_.store(true, std::memory_order_release);
  for (const auto& io : io_) io->loop->wake();
}

void Gateway::check_drained() {
  bool reading = false;
  bool busy = false;
  for (const auto& io : io_) {
    reading |= io->reading.load(std::memory_order_acquire);
    busy |= io->busy.load(std::memory_order_acquire);
  }
  // Only when every request has been read: until then all of them are still welcome.
  if (!reading && !std::exchange(core_draining_, true)) events_.post(Draining{});
  if (!busy && dispatcher_->idle() && drained_) std::exchange(drained_, nullptr)();
}

}  // namespace sluice
