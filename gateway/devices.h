// SPDX-License-Identifier: Apache-2.0
#pragma once
// Devices: what the gateway knows of the GPUs under its models. It shows what they have done as
// metrics, and takes the weights off those that are idle.

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/engine_fallback.h"
#include "base/loop.h"
#include "base/metrics.h"

namespace sluice {

// One GPU under a model.
struct Device {
  std::string model;
  std::string name;  // as in the configuration: "cuda:0"; metrics call a second one "cuda:0#2"
  // Null for one that was asked for and is not there, so that the CPU runs the model alone.
  FallbackEngine* engine = nullptr;
};

// All of them. Everything but render() belongs to the core's loop.
class Devices {
 public:
  // The engines outlive their last use. With one that unloads, `core` gets a timer. On the loop's
  // thread, before it runs.
  Devices(Loop& core, std::vector<Device> devices);

  // Their series as Prometheus' text, as they are now; from any thread. Empty without devices.
  std::string render();

 private:
  struct Series {
    CounterId batches, submissions, busy, weight_loads;
    GaugeId loaded, kernels, copies;
    std::array<CounterId, kFallbackReasons> fallbacks;
    DeviceStats shown;  // what the counters have counted
    std::array<uint64_t, kFallbackReasons> fallbacks_shown = {};
  };

  void declare(const Device& device, size_t alike);
  void publish(const Device& device, Series& series);
  void rest();

  Loop& core_;
  const std::vector<Device> devices_;
  std::unique_ptr<Timer> timer_;
  Metrics metrics_;
  std::mutex mutex_;  // guards what follows: whoever asks counts
  MetricsShard* shard_ = nullptr;
  std::vector<Series> series_;  // by device
};

}  // namespace sluice
