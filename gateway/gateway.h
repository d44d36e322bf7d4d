// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gateway: everything between sockets and engines, put together over loops that are given to it:
// one for the core, one per I/O thread (or the core's for both). It starts no thread and knows no
// real loop, so the simulation runs the very same assembly on virtual time.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/loop.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "gateway/api.h"
#include "gateway/byte_budget.h"
#include "gateway/config.h"
#include "gateway/devices.h"
#include "gateway/dispatcher.h"
#include "gateway/offload.h"
#include "gateway/server.h"
#include "gateway/shadow.h"
#include "gateway/telemetry.h"
#include "gateway/upstreams.h"

namespace sluice {

class Gateway {
 public:
  // What it is built over. `core` may be the only element of `io`, and is then shared. All outlive
  // the gateway.
  struct World {
    Loop* core = nullptr;
    std::vector<Loop*> io;
    Offload* offload = nullptr;
    Log* log = nullptr;
  };
  // `id_seed` makes request ids differ between processes.
  Gateway(const Config& config, uint64_t id_seed, World world);
  // REQUIRES: no loop runs any more and no engine can report.
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // How the engines of the models given to open() report; from any thread.
  EngineSink sink() { return engine_mail(events_); }
  // Takes the models, opens the listeners and sets the loops' turn handlers. `engines` are in the
  // order of the configuration's backends, null for endpoints, and outlive their last use by the
  // loops. `devices` are the GPUs under them, whose engines outlive that too. Called once, before
  // the loops run.
  Result<Done> open(std::vector<ServedModel> models, const std::vector<Engine*>& engines,
                    std::vector<Device> devices = {});

  // The addresses that open() got.
  Address main_address() const { return main_address_; }
  std::optional<Address> admin_address() const { return admin_address_; }

  // On the core's loop: stops accepting, answers what was accepted, then calls `drained` once.
  void drain(std::function<void()> drained);
  bool draining() const { return draining_.load(std::memory_order_acquire); }
  // Bytes held for clients now; from any thread.
  uint64_t bytes_held() const { return budget_.held(); }
  // All metrics as Prometheus' text; from any thread.
  std::string render_metrics() const;

 private:
  // One I/O loop and what lives on it.
  struct Io {
    Loop* loop = nullptr;
    std::unique_ptr<Server> server;
    // Written on this loop, read on the core's while draining.
    std::atomic<bool> reading{true};
    std::atomic<bool> busy{true};
  };

  Result<Done> add_io(Loop* loop, uint64_t id_seed);
  void describe_upstreams(std::vector<ServedModel>& models) const;
  CoreOptions options_for(const std::vector<Engine*>& engines);
  uint32_t slots_of(const Engine* engine, BackendIndex backend) const;
  Result<Done> listen();
  bool shared() const { return io_.size() == 1 && io_[0]->loop == world_.core; }
  void core_turn();
  void io_turn(Io& io);
  void check_drained();

  const Config config_;
  const World world_;
  Metrics metrics_;
  Telemetry telemetry_;
  MetricsShard& scrape_;  // of what is looked up when it is asked for
  ByteBudget budget_;
  Mailbox<Event> events_;
  Upstreams upstreams_;
  std::unique_ptr<Api> api_;
  std::vector<std::unique_ptr<Io>> io_;
  std::unique_ptr<Devices> devices_;
  std::unique_ptr<Shadow> shadow_;  // null: no model is only counted
  std::unique_ptr<Dispatcher> dispatcher_;
  std::atomic<bool> draining_{false};
  bool core_draining_ = false;
  std::function<void()> drained_;
  Address main_address_;
  std::optional<Address> admin_address_;
  const uint64_t id_seed_;
};

}  // namespace sluice
