// SPDX-License-Identifier: Apache-2.0
// The GPU engine when anything fails: each call of the driver in turn, at the start and while it
// serves, with the CPU's engine beside it. And when nothing does: a thousand batches.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "backends/engine_cpu.h"
#include "backends/engine_fallback.h"
#include "base/prng.h"
#include "gpu/engine_gpu.h"
#include "tests/gpu_hooked.h"
#include "tests/gpu_ptx_images.h"
#include "tests/gpu_small_model.h"

namespace sluice {
namespace {

constexpr double kCosineMin = 0.9999;
constexpr uint32_t kTokensMax = 96;
// A sanitizer takes ten times as long for each batch, and sees the same in fewer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr CallId kProbe = ~CallId{0};
constexpr Instant kLater{seconds(1'000'000).ns};  // than all that the tests take

EmulatedMachine fast_machine() {
  EmulatedMachine fast = machine(80);
  fast.check_memory = false;
  return fast;
}

Slice payload(const std::vector<int32_t>& ids) {
  return Slice::copy_of({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

// Texts and their vectors.
struct Texts {
  std::vector<std::vector<int32_t>> rows;
  std::vector<std::vector<double>> vectors;

  Texts(const ReferenceBert& reference, const std::vector<size_t>& lengths) {
    for (const size_t length : lengths) {
      rows.push_back(reference.random_ids(length, rows.size() + 1));
      vectors.push_back(reference.embed(rows.back()));
    }
  }
};

// Jobs given to an engine, and what became of them.
class Jobs {
 public:
  explicit Jobs(const Texts& texts) : texts_(texts) {}
  EngineSink sink() {
    return [this](EngineDone done) {
      const std::lock_guard lock(mutex_);
      answers_.emplace(done.call, std::move(done));
      answered_ += 1;
      answered_.notify_all();
    };
  }
  // Submits a job with these of the texts, waits for its answer, and holds that against them.
  void run(Engine& engine, const std::vector<size_t>& of) {
    EngineJob job{.call = next_, .rows = {}};
    for (const size_t i : of) job.rows.push_back(payload(texts_.rows[i]));
    engine.submit(std::move(job));
    answered_.wait(next_++);
    REQUIRE(answered_ == next_);
    const std::lock_guard lock(mutex_);
    REQUIRE(answers_.size() == next_);
    const EngineDone& done = answers_.find(next_ - 1)->second;
    const std::string why = done.outputs.ok() ? "" : done.outputs.error().message;
    CAPTURE(why);
    REQUIRE(done.outputs.ok());
    REQUIRE(done.outputs.value().size() == of.size());
    for (size_t i = 0; i < of.size(); ++i) {
      const std::vector<double>& wanted = texts_.vectors[of[i]];
      std::vector<float> got(wanted.size());
      REQUIRE(done.outputs.value()[i].size() == got.size() * sizeof(float));
      std::memcpy(got.data(), done.outputs.value()[i].data(), got.size() * sizeof(float));
      CHECK(cosine(got, wanted) > kCosineMin);
    }
  }

 private:
  const Texts& texts_;
  std::mutex mutex_;
  std::multimap<CallId, EngineDone> answers_;
  std::atomic<uint64_t> answered_ = 0;
  uint64_t next_ = 0;
};

// A GPU on a driver with hooks, with the CPU beside it.
struct Served {
  EmulatedCuda cuda{fast_machine()};
  HookedCuda* driver = nullptr;  // the device's
  GpuEngine* device = nullptr;   // the engine's
  std::atomic<bool> probed = false;
  std::unique_ptr<FallbackEngine> engine;

  Served(const Model& model, EngineSink sink) {
    const GpuRunnerOptions options = runner_options(kTokensMax);
    engine = std::make_unique<FallbackEngine>(
        FallbackEngine::Options{.unload_after = seconds(1), .now = options.now}, std::move(sink));
    auto hooked = std::make_unique<HookedCuda>(cuda);
    driver = hooked.get();
    const std::vector<GpuImage> images = ptx_images(80);
    std::unique_ptr<GpuEngine> gpu =
        value_of(GpuEngine::make(std::move(hooked), images, model.gpu, options,
                                 [this, to = engine->device_sink()](EngineDone done) {
                                   if (done.call != kProbe) return to(std::move(done));
                                   probed = true;
                                   probed.notify_all();
                                 }));
    device = gpu.get();
    std::unique_ptr<CpuEngine> cpu = value_of(
        CpuEngine::make(value_of(read_model_folder(model.files.path())),
                        {.threads = 2, .precision = PrecisionChoice::kF32, .now = options.now},
                        engine->spare_sink()));
    engine->take(std::move(gpu), std::move(cpu));
  }

  // Waits until the device's thread has done what it was told so far.
  void settle() {
    probed = false;
    device->submit({kProbe, {Slice::copy_of("odd")}});
    probed.wait(false);
  }
  uint64_t fallbacks(FallbackReason reason) const { return engine->batches(reason); }
};

// Serves, unloads, serves on the CPU while it loads, and serves again.
void live(Served& served, Jobs& jobs) {
  served.driver->run_late(2);
  jobs.run(*served.engine, {0, 1, 2});
  jobs.run(*served.engine, {3});
  served.engine->rest(kLater);
  served.settle();
  jobs.run(*served.engine, {1, 0});
  served.settle();
  jobs.run(*served.engine, {2, 2, 0});
  served.settle();
  jobs.run(*served.engine, {1, 2, 1});
}

TEST_CASE("gpu: weights go and come without a graph or an address of theirs being made anew") {
  const Model model(small_options(0, Pooling::kMean));
  const Texts texts(model.reference, {3, 40, 1, 96});
  Jobs jobs(texts);
  Served served(model, jobs.sink());
  const uint64_t reserved = served.driver->calls("address_reserve");
  const uint64_t graphs = served.driver->calls("graph_instantiate");
  live(served, jobs);
  CHECK(served.fallbacks(FallbackReason::kUnloaded) == 1);
  CHECK(served.fallbacks(FallbackReason::kFailed) == 0);
  CHECK(served.fallbacks(FallbackReason::kLost) == 0);
  CHECK(served.device->stats().batches == 4);
  CHECK(served.device->stats().submissions == 4);
  CHECK(served.device->stats().weight_loads == 1);
  CHECK(served.driver->calls("address_reserve") == reserved);
  CHECK(served.driver->calls("graph_instantiate") == graphs);
  CHECK(served.driver->calls("memory_unmap") == 1);
  CHECK(served.driver->calls("stream_query") > 0);
}

// Fails each call of live() in turn.
void fail_each(CUresult code, bool for_good) {
  const Model model(small_options(0, Pooling::kMean));
  const Texts texts(model.reference, {3, 40, 1, 96});
  uint64_t calls = 0;
  {
    Jobs jobs(texts);
    Served served(model, jobs.sink());
    const uint64_t before = served.driver->calls();
    live(served, jobs);
    calls = served.driver->calls() - before;
  }
  REQUIRE(calls >= 12);
  for (uint64_t call = 1; call <= calls; ++call) {
    CAPTURE(call);
    Jobs jobs(texts);
    Served served(model, jobs.sink());
    served.driver->fail(call, code, for_good);
    live(served, jobs);
    CAPTURE(served.driver->failed());
    CHECK(!served.driver->failed().empty());
    CHECK(served.driver->findings().empty());
    CHECK(served.cuda.findings().empty());
    if (for_good) CHECK(served.device->absence() == Absence::kLost);
    served.driver->mend();
    served.engine.reset();
    CHECK(served.cuda.alive() == 0);
  }
}

TEST_CASE("gpu: whichever call of the driver fails once, every row is answered, and rightly") {
  fail_each(CUDA_ERROR_ILLEGAL_ADDRESS, false);
}

TEST_CASE("gpu: whenever the device is lost, every row is answered, and rightly") {
  fail_each(CUDA_ERROR_ILLEGAL_ADDRESS, true);
}

TEST_CASE("gpu: without memory for its weights it stays unloaded, and comes back when there is") {
  const Model model(small_options(0, Pooling::kMean));
  const Texts texts(model.reference, {3, 40});
  Jobs jobs(texts);
  Served served(model, jobs.sink());
  served.engine->rest(kLater);
  served.settle();
  served.driver->fail(1, CUDA_ERROR_OUT_OF_MEMORY, true);
  for (int i = 0; i < 3; ++i) {
    jobs.run(*served.engine, {0, 1});
    served.settle();
    CHECK(served.device->absence() == Absence::kUnloaded);
  }
  served.driver->mend();
  jobs.run(*served.engine, {1});
  served.settle();
  CHECK(served.device->absence() == Absence::kNone);
  jobs.run(*served.engine, {0});
  CHECK(served.device->stats().batches == 1);
  CHECK(served.fallbacks(FallbackReason::kUnloaded) == 4);
}

TEST_CASE("gpu: a batch that never ends is given up, and its rows are answered") {
  const Model model(small_options(0, Pooling::kMean));
  const Texts texts(model.reference, {3, 40});
  Jobs jobs(texts);
  Served served(model, jobs.sink());
  served.driver->run_late(UINT64_MAX);
  jobs.run(*served.engine, {0, 1});
  CHECK(served.fallbacks(FallbackReason::kFailed) == 1);
  CHECK(served.device->absence() == Absence::kLost);
}

TEST_CASE(
    "gpu: whichever call fails at the start, it is an error that says what, and nothing stays") {
  const Model model(small_options(3, Pooling::kMean));
  const std::vector<GpuImage> images = ptx_images(80);
  const std::vector<std::vector<int32_t>> rows = {model.reference.random_pair(5, 9, 1)};
  std::vector<float> out(3);
  const auto start = [&](HookedCuda& driver) -> Result<Done> {
    const auto runner = GpuRunner::make(driver, images, model.gpu, runner_options(kTokensMax));
    if (!runner.ok()) return runner.error();
    return runner.value()->run(views(rows), out.data());
  };
  uint64_t calls = 0;
  {
    EmulatedCuda cuda(fast_machine());
    HookedCuda driver(cuda);
    REQUIRE(start(driver).ok());
    CHECK(driver.findings().empty());
    CHECK(cuda.alive() == 0);
    calls = driver.calls();
  }
  constexpr uint64_t kStride = kSanitized ? 41 : 7;
  std::map<std::string, int> failed;
  for (uint64_t call = 1; call <= calls; ++call) {
    // Recorded launches are many and alike.
    if (failed["launch"] >= 8 && call % kStride != 0 && call < calls - 40) continue;
    CAPTURE(call);
    EmulatedCuda cuda(fast_machine());
    HookedCuda driver(cuda);
    driver.fail(call, CUDA_ERROR_UNKNOWN, call % 2 == 0);
    const Result<Done> done = start(driver);
    CAPTURE(driver.failed());
    REQUIRE(!driver.failed().empty());
    failed[driver.failed()] += 1;
    // What only frees may fail: then there is nothing left to be told of.
    if (!done.ok()) CHECK(done.error().message.find("CUDA_ERROR") != std::string::npos);
    CHECK(driver.findings().empty());
    CHECK(cuda.alive() == 0);
  }
  for (const char* method :
       {"init", "module_load", "memory_alloc", "host_alloc", "memory_create", "memory_map",
        "memory_access", "copy_to_device", "capture_begin", "capture_end", "launch",
        "graph_instantiate", "graph_upload", "stream_synchronize", "graph_launch"}) {
    CAPTURE(method);
    CHECK(failed[method] > 0);
  }
}

TEST_CASE("gpu: a thousand mixed batches are a thousand submissions") {
  const Model model(small_options(0, Pooling::kMean));
  Prng random(7);
  std::vector<size_t> lengths;
  for (int i = 0; i < 48; ++i) {
    lengths.push_back(static_cast<size_t>(random.between(1, i % 3 == 0 ? 96 : 12)));
  }
  const Texts texts(model.reference, lengths);
  Jobs jobs(texts);
  EmulatedCuda cuda(fast_machine());
  auto hooked = std::make_unique<HookedCuda>(cuda);
  const HookedCuda& driver = *hooked;
  const std::vector<GpuImage> images = ptx_images(80);
  const std::unique_ptr<GpuEngine> engine = value_of(
      GpuEngine::make(std::move(hooked), images, model.gpu, runner_options(256), jobs.sink()));
  const uint64_t launched = driver.calls("graph_launch");
  const uint64_t queried = driver.calls("stream_query");
  const uint64_t called = driver.calls();
  constexpr uint64_t kBatches = kSanitized ? 100 : 1'000;
  for (uint64_t batch = 0; batch < kBatches; ++batch) {
    std::vector<size_t> of;
    size_t tokens = 0;
    const auto most = static_cast<size_t>(random.between(1, batch % 16 == 0 ? 256 : 20));
    do {
      const auto next = static_cast<size_t>(random.between(0, int64_t(lengths.size()) - 1));
      if (tokens + lengths[next] > 256) break;
      tokens += lengths[next];
      of.push_back(next);
    } while (tokens < most && of.size() < 64);
    jobs.run(*engine, of);
  }
  const DeviceStats stats = engine->stats();
  CHECK(stats.batches == kBatches);
  CHECK(stats.submissions == kBatches);
  // And as the driver saw it: nothing but launches of graphs, and questions whether they are done.
  CHECK(driver.calls("graph_launch") - launched == kBatches);
  CHECK(driver.calls() - called == kBatches + driver.calls("stream_query") - queried);
  CHECK(driver.findings().empty());
  CHECK(cuda.findings().empty());
}

}  // namespace
}  // namespace sluice
