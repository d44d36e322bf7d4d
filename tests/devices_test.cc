// SPDX-License-Identifier: Apache-2.0
// What the gateway shows of its GPUs and when it takes their weights, on virtual time.
#include "gateway/devices.h"

#include <doctest/doctest.h>

#include "tests/fake_engines.h"
#include "tests/sim/sim_loop.h"

namespace sluice {
namespace {

// A device under the model "m", whose spare is there too.
struct Gpu {
  FakeState device, spare;
  std::vector<EngineDone> done;
  FallbackEngine engine;

  Gpu(const sim::SimWorld& world, Duration unload_after)
      : engine({.unload_after = unload_after, .now = [&world] { return world.now(); }},
               [this](EngineDone one) { done.push_back(std::move(one)); }) {
    device.sink = engine.device_sink();
    spare.sink = engine.spare_sink();
    engine.take(std::make_unique<FakeDevice>(device), std::make_unique<FakeSpare>(spare));
  }
  void submit(CallId call) { engine.submit({.call = call, .rows = {Slice::copy_of("row")}}); }
};

bool has(const std::string& text, const std::string& line) {
  return text.find("\n" + line + "\n") != std::string::npos;
}

// Runs the world up to `end`.
void run_until(sim::SimWorld& world, Instant end) {
  bool there = false;
  world.at(end, [&] { there = true; });
  while (!there) REQUIRE(world.step());
}

TEST_CASE("devices: without any there are no series") {
  sim::SimWorld world(1);
  sim::SimLoop loop(world);
  Devices devices(loop, {});
  CHECK(devices.render().empty());
}

TEST_CASE("devices: the series say what a device has done so far, whenever they are asked for") {
  sim::SimWorld world(1);
  sim::SimLoop loop(world);
  Gpu gpu(world, {});
  Devices devices(loop, {{"m", "cuda:0", &gpu.engine}});
  gpu.device.stats = {.batches = 5,
                      .submissions = 6,
                      .weight_loads = 1,
                      .graph_kernels = 44,
                      .graph_copies = 1,
                      .busy = milliseconds(250)};
  CHECK(has(devices.render(), R"(sluice_gpu_batches_total{model="m",device="cuda:0"} 5)"));
  gpu.device.stats.batches = 7;
  gpu.submit(1);
  gpu.device.fail(Code::kUnavailable);
  gpu.spare.answer("");
  gpu.device.absence = Absence::kLost;
  gpu.submit(2);
  gpu.spare.answer("");
  const std::string text = devices.render();
  CHECK(has(text, R"(sluice_gpu_batches_total{model="m",device="cuda:0"} 7)"));
  CHECK(has(text, R"(sluice_gpu_submissions_total{model="m",device="cuda:0"} 6)"));
  CHECK(has(text, R"(sluice_gpu_busy_seconds_total{model="m",device="cuda:0"} 0.25)"));
  CHECK(has(text, R"(sluice_gpu_weight_loads_total{model="m",device="cuda:0"} 1)"));
  CHECK(has(text, R"(sluice_gpu_weights_loaded{model="m",device="cuda:0"} 0)"));
  CHECK(has(text, R"(sluice_gpu_graph_nodes{model="m",device="cuda:0",kind="kernel"} 44)"));
  CHECK(has(text, R"(sluice_gpu_graph_nodes{model="m",device="cuda:0",kind="memcpy"} 1)"));
  const auto fallbacks = [](const char* reason, int count) {
    return std::string(R"(sluice_gpu_fallback_batches_total{model="m",device="cuda:0",reason=")") +
           reason + "\"} " + std::to_string(count);
  };
  CHECK(has(text, fallbacks("unloaded", 0)));
  CHECK(has(text, fallbacks("failed", 1)));
  CHECK(has(text, fallbacks("lost", 1)));
}

TEST_CASE("devices: one that is missing is shown without weights, and two alike apart") {
  sim::SimWorld world(1);
  sim::SimLoop loop(world);
  Gpu gpu(world, {});
  Devices devices(loop, {{"m", "cuda:0", nullptr}, {"m", "cuda:0", &gpu.engine}});
  const std::string text = devices.render();
  CHECK(has(text, R"(sluice_gpu_weights_loaded{model="m",device="cuda:0"} 0)"));
  CHECK(has(text, R"(sluice_gpu_weights_loaded{model="m",device="cuda:0#2"} 1)"));
}

TEST_CASE(
    "devices: weights leave an idle device when its time has come, and again after a return") {
  sim::SimWorld world(1);
  sim::SimLoop loop(world);
  Gpu gpu(world, seconds(10));
  Gpu other(world, seconds(3));
  Gpu never(world, {});
  Devices devices(loop, {{"m", "cuda:0", &gpu.engine},
                         {"m", "cuda:1", &other.engine},
                         {"m", "cuda:2", &never.engine}});
  const Instant start = world.now();
  run_until(world, start + seconds(9));
  CHECK(gpu.device.unloads == 0);
  CHECK(other.device.unloads == 1);
  gpu.submit(1);
  gpu.device.answer("");
  run_until(world, start + seconds(18));
  CHECK(gpu.device.unloads == 0);
  run_until(world, start + seconds(20));
  CHECK(gpu.device.unloads == 1);
  gpu.submit(2);
  gpu.spare.answer("");
  CHECK(gpu.device.loads == 1);
  gpu.device.absence = Absence::kNone;
  run_until(world, start + seconds(45));
  CHECK(gpu.device.unloads == 2);
  CHECK(never.device.unloads == 0);
}

}  // namespace
}  // namespace sluice
