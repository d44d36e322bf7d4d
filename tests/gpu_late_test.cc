// SPDX-License-Identifier: Apache-2.0
// The GPU engine says that a batch is about to end, and has the next one ready then.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "gpu/engine_gpu.h"
#include "tests/gpu_hooked.h"
#include "tests/gpu_ptx_images.h"
#include "tests/gpu_small_model.h"

namespace sluice {
namespace {

EmulatedMachine fast_machine() {
  EmulatedMachine fast = machine(80);
  fast.check_memory = false;
  return fast;
}

// The clock of these tests goes on by a millisecond each time it is read.
GpuRunnerOptions late_options() {
  GpuRunnerOptions options = runner_options(96);
  options.ending_lead = milliseconds(6);
  return options;
}

TEST_CASE("gpu: a batch that takes as long as others of its size is about to end before it does") {
  const Model model(small_options(0, Pooling::kMean));
  EmulatedCuda cuda(fast_machine());
  HookedCuda driver(cuda);
  const std::vector<GpuImage> images = ptx_images(80);
  const std::unique_ptr<GpuRunner> runner =
      value_of(GpuRunner::make(driver, images, model.gpu, late_options()));
  const std::vector<int32_t> ids = model.reference.random_ids(20, 1);
  std::vector<float> out(2 * 64);
  const auto calls = [&](size_t rows, uint64_t queries) {
    int count = 0;
    driver.run_late(queries);
    const std::vector<std::span<const int32_t>> batch(rows, ids);
    REQUIRE(runner->run(batch, out.data(), [&] { ++count; }).ok());
    return count;
  };
  CHECK(calls(1, 20) == 0);  // nothing is known yet
  const int count = calls(1, 20);
  CHECK(count >= 4);
  CHECK(count <= 8);
  CHECK(calls(1, 2) == 0);   // it ended sooner
  CHECK(calls(2, 20) == 0);  // another graph
  CHECK(calls(2, 20) >= 4);
}

// An engine, and what came of the jobs it was given.
struct Served {
  Model model{small_options(0, Pooling::kMean)};
  EmulatedCuda cuda{fast_machine()};
  HookedCuda* driver = nullptr;
  std::mutex mutex;
  std::vector<CallId> told, answered;
  std::map<CallId, std::vector<float>> vectors;
  std::atomic<int> answers = 0;
  std::function<void(CallId)> on_told;
  std::unique_ptr<GpuEngine> engine;

  Served() {
    auto hooked = std::make_unique<HookedCuda>(cuda);
    driver = hooked.get();
    const std::vector<GpuImage> images = ptx_images(80);
    engine = value_of(GpuEngine::make(std::move(hooked), images, model.gpu, late_options(),
                                      [this](EngineDone done) { take(std::move(done)); }));
    CHECK(engine->tells_ending());
    engine->on_ending([this](CallId call) {
      {
        const std::lock_guard lock(mutex);
        told.push_back(call);
      }
      if (on_told) on_told(call);
    });
    driver->run_late(20);
  }
  void take(EngineDone done) {
    const std::lock_guard lock(mutex);
    answered.push_back(done.call);
    if (done.outputs.ok()) {
      std::vector<float>& vector = vectors[done.call];
      vector.resize(64);
      std::memcpy(vector.data(), done.outputs.value()[0].data(), 64 * sizeof(float));
    }
    ++answers;
    answers.notify_all();
  }
  std::vector<int32_t> ids(CallId call) const { return model.reference.random_ids(20, call + 1); }
  void submit(CallId call) {
    const std::vector<int32_t> row = ids(call);
    engine->submit(
        {call, {Slice::copy_of({reinterpret_cast<const char*>(row.data()), 4 * row.size()})}});
  }
  void wait(int count) {
    for (int seen = answers; seen < count; seen = answers) answers.wait(seen);
  }
};

TEST_CASE("gpu: each job is told of once, and one that comes then is answered next") {
  Served served;
  constexpr CallId kJobs = 12;
  served.on_told = [&](CallId call) {
    if (call + 1 < kJobs) served.submit(call + 1);
  };
  // The first of its graph was that at the start, which ended at once: later ones are expected to
  // end soon until more of them have been seen, and so are told of from early on.
  served.submit(0);
  served.wait(kJobs);
  const std::lock_guard lock(served.mutex);
  std::vector<CallId> all(kJobs);
  for (CallId call = 0; call < kJobs; ++call) all[call] = call;
  CHECK(served.told == all);
  CHECK(served.answered == all);
  for (const auto& [call, vector] : served.vectors) {
    CHECK(cosine(vector, served.model.reference.embed(served.ids(call))) > 0.9999);
  }
  CHECK(served.vectors.size() == kJobs);
}

TEST_CASE("gpu: a job taken ahead is not lost when the device fails under the one before") {
  Served served;
  served.on_told = [&](CallId call) {
    if (call != 0) return;
    served.submit(1);
    served.driver->fail(3, CUDA_ERROR_ILLEGAL_ADDRESS, true);
  };
  served.submit(0);
  served.wait(2);
  const std::lock_guard lock(served.mutex);
  CHECK(served.answered == std::vector<CallId>{0, 1});
  CHECK(served.told == std::vector<CallId>{0});
  CHECK(served.vectors.empty());
  CHECK(served.engine->absence() == Absence::kLost);
}

TEST_CASE("gpu: an odd job that comes ahead fails by itself") {
  Served served;
  served.on_told = [&](CallId call) {
    if (call == 0) served.engine->submit({1, {Slice::copy_of("odd")}});
  };
  served.submit(0);
  served.wait(2);
  const std::lock_guard lock(served.mutex);
  CHECK(served.answered == std::vector<CallId>{0, 1});
  CHECK(served.vectors.contains(0));
  CHECK_FALSE(served.vectors.contains(1));
}

TEST_CASE("gpu: an engine that stops answers what it has taken ahead") {
  Served served;
  std::atomic<bool> told = false;
  served.on_told = [&](CallId call) {
    if (call == 0) served.submit(1);
    told = true;
    told.notify_all();
  };
  served.submit(0);
  told.wait(false);
  served.engine.reset();
  const std::lock_guard lock(served.mutex);
  CHECK(served.answered == std::vector<CallId>{0, 1});
}

}  // namespace
}  // namespace sluice
