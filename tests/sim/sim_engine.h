// SPDX-License-Identifier: Apache-2.0
#pragma once
// SimEngine: an Engine on virtual time, with the faults of a plan. It answers as the echo engine
// does and checks what the core promises an engine.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/engine.h"
#include "tests/sim/sim_loop.h"

namespace sluice::sim {

class SimEngine final : public Engine {
 public:
  struct Options {
    Duration a;
    Duration b;
    double slow = 0;   // takes 50 times as long
    double error = 0;  // fails as a whole
    double wrong = 0;  // gives one output too few or too many
    size_t items_max = 0;
    size_t bytes_max = 0;
    Duration lead = {};  // it says this long before that a batch is about to end; 0: it does not
  };
  // `violation` is told what the core has promised and not kept.
  SimEngine(SimWorld& world, Options options, EngineSink sink,
            std::function<void(std::string)> violation)
      : world_(world),
        options_(options),
        sink_(std::move(sink)),
        violation_(std::move(violation)) {}

  void submit(EngineJob job) override;
  uint32_t slots() const override { return 1; }
  bool tells_ending() const override { return options_.lead > Duration{}; }
  void on_ending(const EndingSink& ending) override { ending_ = ending; }
  bool busy() const { return busy_; }
  uint64_t batches() const { return batches_; }
  uint64_t rows() const { return rows_; }

 private:
  void check(const EngineJob& job);
  void start(EngineJob job);
  void end(const EngineJob& job, Duration took);
  EngineDone answer(const EngineJob& job, Duration took);

  SimWorld& world_;
  const Options options_;
  const EngineSink sink_;
  const std::function<void(std::string)> violation_;
  EndingSink ending_;
  bool busy_ = false;
  bool told_ = false;              // that the batch is about to end
  std::optional<EngineJob> next_;  // waits for that
  uint64_t batches_ = 0;
  uint64_t rows_ = 0;
};

}  // namespace sluice::sim
