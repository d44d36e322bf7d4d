// SPDX-License-Identifier: Apache-2.0
#include "gateway/devices.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace sluice {
namespace {

constexpr std::array<const char*, kFallbackReasons> kReasons = {"unloaded", "failed", "lost"};

}  // namespace

Devices::Devices(Loop& core, std::vector<Device> devices)
    : core_(core), devices_(std::move(devices)) {
  std::map<std::pair<std::string, std::string>, size_t> seen;
  for (const Device& device : devices_) declare(device, ++seen[{device.model, device.name}]);
  shard_ = &metrics_.shard();
  timer_ = core_.timer([this] { rest(); });
  rest();
}

// `alike` counts the devices of this name under this model: two backends may share a GPU, and their
// series must differ.
void Devices::declare(const Device& device, size_t alike) {
  const std::string name = alike == 1 ? device.name : device.name + "#" + std::to_string(alike);
  const Metrics::Labels labels = {{"model", device.model}, {"device", name}};
  const auto with = [&](const char* label, const char* value) {
    Metrics::Labels more = labels;
    more.emplace_back(label, value);
    return more;
  };
  Series& series = series_.emplace_back();
  series.batches =
      metrics_.counter("sluice_gpu_batches_total", "Batches that a GPU was given.", labels);
  series.submissions =
      metrics_.counter("sluice_gpu_submissions_total",
                       "Calls of the driver that gave a GPU work for those batches.", labels);
  series.busy = metrics_.counter("sluice_gpu_busy_seconds_total",
                                 "From submissions to a GPU to their results.", labels);
  series.weight_loads = metrics_.counter("sluice_gpu_weight_loads_total",
                                         "Times a GPU's weights were loaded again.", labels);
  series.loaded = metrics_.gauge("sluice_gpu_weights_loaded",
                                 "1: a GPU has its weights; 0: the CPU answers for it.", labels);
  const auto nodes = [&](const char* kind) {
    return metrics_.gauge("sluice_gpu_graph_nodes", "Nodes of a GPU's largest graph, by kind.",
                          with("kind", kind));
  };
  series.kernels = nodes("kernel");
  series.copies = nodes("memcpy");
  for (size_t i = 0; i < kFallbackReasons; ++i) {
    series.fallbacks[i] =
        metrics_.counter("sluice_gpu_fallback_batches_total",
                         "Batches that the CPU answered for a GPU.", with("reason", kReasons[i]));
  }
}

std::string Devices::render() {
  if (devices_.empty()) return {};
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < devices_.size(); ++i) {
    if (devices_[i].engine != nullptr) publish(devices_[i], series_[i]);
  }
  return metrics_.render();
}

void Devices::publish(const Device& device, Series& series) {
  const DeviceStats now = device.engine->device().stats();
  const auto add = [&](CounterId id, uint64_t& shown, uint64_t is) {
    shard_->add(id, static_cast<double>(is - std::exchange(shown, is)));
  };
  add(series.batches, series.shown.batches, now.batches);
  add(series.submissions, series.shown.submissions, now.submissions);
  add(series.weight_loads, series.shown.weight_loads, now.weight_loads);
  shard_->add(series.busy, (now.busy - std::exchange(series.shown.busy, now.busy)).seconds());
  shard_->set(series.loaded, device.engine->device().absence() == Absence::kNone ? 1 : 0);
  shard_->set(series.kernels, now.graph_kernels);
  shard_->set(series.copies, now.graph_copies);
  for (size_t i = 0; i < kFallbackReasons; ++i) {
    add(series.fallbacks[i], series.fallbacks_shown[i],
        device.engine->batches(static_cast<FallbackReason>(i)));
  }
}

// Once, and again whenever an engine may have been idle for long enough.
void Devices::rest() {
  std::optional<Instant> next;
  for (const Device& device : devices_) {
    if (device.engine == nullptr) continue;
    const std::optional<Instant> its = device.engine->rest(core_.now());
    if (its) next = next ? std::min(*next, *its) : *its;
  }
  if (next) timer_->again(*next);
}

}  // namespace sluice
