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
  while (const std::optional<Order> order = next_order()) obey(*runner, *order);
}

std::optional<GpuEngine::Order> GpuEngine::next_order() {
  if (ahead_) return std::exchange(ahead_, std::nullopt);
  return orders_.take();
}

// What is done while `running` is about to end: says so, then takes what is next and reads it. What
// cannot be done now, for want of memory, is done or fails in its turn.
void GpuEngine::look_ahead(CallId running) noexcept try {
  if (!ending_ || ahead_) return;
  if (told_ != running) {
    told_ = running;
    ending_(running);
    return;
  }
  ahead_ = orders_.try_take();
  if (ahead_ && ahead_->kind == Order::Kind::kRun) ahead_batch_ = read(ahead_->job);
} catch (const std::exception&) {
  ahead_batch_.reset();
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

Result<Done> GpuEngine::run(GpuRunner& runner, const Batch& batch, float* out) {
  if (!runner.loaded()) {
    Result<Done> loaded = load(runner);
    if (!loaded.ok()) return Error{Code::kUnavailable, loaded.error().message};
  }
  const uint64_t before = counting_.counts().submissions();
  Result<Done> done = runner.run(batch.rows, out, [&] { look_ahead(batch.call); });
  const uint64_t submissions = counting_.counts().submissions() - before;
  submissions_ += submissions;
  if (submissions > 0) ++batches_;
  if (runner.failed()) absence_ = Absence::kLost;
  return done;
}

GpuEngine::Batch GpuEngine::read(const EngineJob& job) {
  Batch batch;
  batch.call = job.call;
  size_t tokens = 0;
  for (const Slice& row : job.rows) tokens += row.size() / sizeof(int32_t);
  batch.ids.resize(tokens);
  batch.rows.reserve(job.rows.size());
  int32_t* next = batch.ids.data();
  for (const Slice& row : job.rows) {
    if (row.size() % sizeof(int32_t) != 0) {
      batch.error = Error{Code::kInvalid, "a row is not a list of 32-bit token ids"};
      return batch;
    }
    if (row.size() != 0) std::memcpy(next, row.data(), row.size());
    batch.rows.emplace_back(next, row.size() / sizeof(int32_t));
    next += row.size() / sizeof(int32_t);
  }
  return batch;
}

EngineDone GpuEngine::answer(GpuRunner& runner, const EngineJob& job) try {
  const Instant start = now_();
  told_.reset();
  std::optional<Batch> ready = std::exchange(ahead_batch_, std::nullopt);
  const Batch batch = ready && ready->call == job.call ? std::move(*ready) : read(job);
  const std::vector<std::span<const int32_t>>& rows = batch.rows;
  if (batch.error) return {job.call, *batch.error, {}};
  const size_t bytes = width_ * sizeof(float);
  Result<Done> done = Done{};
  const ChunkRef chunk = ChunkRef::make(rows.size() * bytes, [&](char* to) {
    done = run(runner, batch, reinterpret_cast<float*>(to));
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
