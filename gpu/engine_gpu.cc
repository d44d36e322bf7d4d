// SPDX-License-Identifier: Apache-2.0
#include "gpu/engine_gpu.h"

#include <cstring>
#include <deque>
#include <exception>
#include <utility>
#include <vector>

namespace sluice {

GpuEngine::GpuEngine(std::unique_ptr<CudaApi> api, EngineSink done)
    : api_(std::move(api)), counting_(*api_), done_(std::move(done)) {}

Result<std::unique_ptr<GpuEngine>> GpuEngine::make(std::unique_ptr<CudaApi> api,
                                                   std::span<const GpuImage> images,
                                                   const GpuModel& model, GpuRunnerOptions options,
                                                   EngineSink done) try {
  ASSERT(api != nullptr && done && options.now);
  std::unique_ptr<GpuEngine> engine(new GpuEngine(std::move(api), std::move(done)));
  engine->now_ = options.now;
  engine->thread_ = std::thread([&engine = *engine, images, &model, &options] {
    engine.work(images, model, std::move(options));
  });
  // The thread uses `model` and `options` only until it has said how the start went.
  const std::optional<Result<Done>> started = engine->started_.take();
  ASSERT(started.has_value());
  if (!started->ok()) return started->error();
  return engine;
} catch (const std::exception& reason) {
  return Error{Code::kInternal, std::string("GPU engine: ") + reason.what()};
}

GpuEngine::~GpuEngine() {
  const std::deque<Order> left = orders_.close_and_take_all();
  if (thread_.joinable()) thread_.join();
  for (const Order& order : left) {
    if (order.kind != Order::Kind::kRun) continue;
    done_({order.job.call, Error{Code::kUnavailable, "the engine is stopping"}, {}});
  }
}

void GpuEngine::submit(EngineJob job) { orders_.put({Order::Kind::kRun, std::move(job)}); }

void GpuEngine::unload() {
  Absence here = Absence::kNone;
  if (absence_.compare_exchange_strong(here, Absence::kUnloaded)) {
    orders_.put({Order::Kind::kUnload, {}});
  }
}

void GpuEngine::load() {
  if (absence_ != Absence::kUnloaded || loading_.exchange(true)) return;
  orders_.put({Order::Kind::kLoad, {}});
}

DeviceStats GpuEngine::stats() const {
  return {.batches = batches_,
          .submissions = submissions_,
          .weight_loads = weight_loads_,
          .graph_kernels = nodes_.kernels,
          .graph_copies = nodes_.copies,
          .busy = Duration{busy_ns_}};
}

void GpuEngine::work(std::span<const GpuImage> images, const GpuModel& model,
                     GpuRunnerOptions options) {
  Result<std::unique_ptr<GpuRunner>> made =
      GpuRunner::make(counting_, images, model, std::move(options));
  if (!made.ok()) {
    started_.put(made.error());
    return;
  }
  const std::unique_ptr<GpuRunner> runner = std::move(made).value();
  const Result<Done> warm = warm_up(*runner);
  const bool good = warm.ok();
  started_.put(warm);
  if (!good) return;
  while (const std::optional<Order> order = orders_.take()) obey(*runner, *order);
}

// Kernels are loaded when they first run; better now than in a request.
Result<Done> GpuEngine::warm_up(GpuRunner& runner) {
  width_ = runner.width();
  device_name_ = runner.device().name();
  nodes_ = counting_.largest_graph();
  const int32_t id = 0;
  const std::vector<std::span<const int32_t>> row = {{&id, 1}};
  std::vector<float> vector(width_);
  return runner.run(row, vector.data());
}

void GpuEngine::obey(GpuRunner& runner, const Order& order) {
  switch (order.kind) {
    case Order::Kind::kRun:
      return done_(answer(runner, order.job));
    case Order::Kind::kUnload:
      return unload(runner);
    case Order::Kind::kLoad:
      static_cast<void>(load(runner));
      loading_ = false;
      return;
  }
}

void GpuEngine::unload(GpuRunner& runner) {
  // A job may have come between, and have found the weights.
  if (runner.failed() || !runner.loaded()) return;
  if (!runner.unload().ok()) absence_ = Absence::kLost;
}

Result<Done> GpuEngine::load(GpuRunner& runner) {
  if (runner.failed()) return Error{Code::kUnavailable, "the GPU has failed"};
  if (!runner.loaded()) {
    Result<Done> loaded = runner.load();
    if (!loaded.ok()) {
      // Memory may be there another time; nothing else comes back.
      absence_ = loaded.error().code == Code::kUnavailable ? Absence::kUnloaded : Absence::kLost;
      return loaded;
    }
    ++weight_loads_;
  }
  absence_ = Absence::kNone;
  return Done{};
}

Result<Done> GpuEngine::run(GpuRunner& runner, std::span<const std::span<const int32_t>> rows,
                            float* out) {
  if (!runner.loaded()) {
    Result<Done> loaded = load(runner);
    if (!loaded.ok()) return Error{Code::kUnavailable, loaded.error().message};
  }
  const uint64_t before = counting_.counts().submissions();
  Result<Done> done = runner.run(rows, out);
  const uint64_t submissions = counting_.counts().submissions() - before;
  submissions_ += submissions;
  if (submissions > 0) ++batches_;
  if (runner.failed()) absence_ = Absence::kLost;
  return done;
}

EngineDone GpuEngine::answer(GpuRunner& runner, const EngineJob& job) try {
  const Instant start = now_();
  std::vector<int32_t> ids;
  size_t tokens = 0;
  for (const Slice& row : job.rows) tokens += row.size() / sizeof(int32_t);
  ids.resize(tokens);
  std::vector<std::span<const int32_t>> rows;
  rows.reserve(job.rows.size());
  int32_t* next = ids.data();
  for (const Slice& row : job.rows) {
    if (row.size() % sizeof(int32_t) != 0) {
      return {job.call, Error{Code::kInvalid, "a row is not a list of 32-bit token ids"}, {}};
    }
    if (row.size() != 0) std::memcpy(next, row.data(), row.size());
    rows.emplace_back(next, row.size() / sizeof(int32_t));
    next += row.size() / sizeof(int32_t);
  }
  const size_t bytes = width_ * sizeof(float);
  Result<Done> done = Done{};
  const ChunkRef chunk = ChunkRef::make(rows.size() * bytes, [&](char* to) {
    done = run(runner, rows, reinterpret_cast<float*>(to));
  });
  const Duration busy = now_() - start;
  busy_ns_ += busy.ns;
  if (!done.ok()) return {job.call, done.error(), busy};
  std::vector<Slice> outputs;
  outputs.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) outputs.emplace_back(chunk, i * bytes, bytes);
  return {job.call, std::move(outputs), busy};
} catch (const std::exception& reason) {
  return {job.call, Error{Code::kInternal, std::string("GPU engine: ") + reason.what()}, {}};
}

Result<int> count_gpus() {
  const Result<std::unique_ptr<CudaApi>> api = open_cuda_driver();
  if (!api.ok()) return api.error();
  const auto failed = [&](CUresult code) {
    return Error{Code::kUnavailable, "no GPU: " + api.value()->error_name(code)};
  };
  // A driver that may show none says so at its start.
  if (const CUresult code = api.value()->init(); code != CUDA_SUCCESS) return failed(code);
  int count = 0;
  const CUresult code = api.value()->device_count(&count);
  if (code != CUDA_SUCCESS) return failed(code);
  if (count == 0) return failed(CUDA_ERROR_NO_DEVICE);
  return count;
}

Result<std::unique_ptr<DeviceEngine>> make_gpu_engine(const GpuModel& model,
                                                      GpuRunnerOptions options, EngineSink done) {
  Result<std::unique_ptr<CudaApi>> api = open_cuda_driver();
  if (!api.ok()) return api.error();
  Result<std::unique_ptr<GpuEngine>> engine = GpuEngine::make(
      std::move(api).value(), built_in_images(), model, std::move(options), std::move(done));
  if (!engine.ok()) return engine.error();
  return std::unique_ptr<DeviceEngine>(std::move(engine).value());
}

}  // namespace sluice
