// SPDX-License-Identifier: Apache-2.0
#pragma once
// Pipeline: the process put together. It builds loops, threads and mailboxes, joins them into
// HTTP in → queue → batch → engine → HTTP out, and takes them down in order.

#include <memory>
#include <optional>

#include "base/log.h"
#include "base/loop.h"
#include "base/result.h"
#include "gateway/config.h"

namespace sluice {

class Pipeline {
 public:
  // Loads the models, opens the listeners and starts the threads. On failure nothing is left
  // running. `id_seed` makes request ids differ between processes; `log` outlives the pipeline.
  static Result<std::unique_ptr<Pipeline>> start(const Config& config, uint64_t id_seed, Log& log);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  Address main_address() const;
  std::optional<Address> admin_address() const;

  // Serves on the calling thread until SIGTERM or SIGINT, then answers what was accepted, for
  // Config::limits.drain_max at most; returns whether all of it was answered. If not, engines may
  // still be at work, and destroying the pipeline waits for them. A second signal ends the process
  // at once.
  bool run();

 private:
  struct Impl;
  explicit Pipeline(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
