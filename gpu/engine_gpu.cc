// SPDX-License-Identifier: Apache-2.0
#include "gpu/engine_gpu.h"

#include <cstring>
#include <deque>
#include <exception>
#include <utility>
#include <vector>

namespace sluice {

GpuEngine::GpuEngine(std::unique_ptr<CudaApi> api, EngineSink done)
    : api_(std::move(api)), done_(std::move(done)) {}

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
  const std::deque<EngineJob> left = jobs_.close_and_take_all();
  if (thread_.joinable()) thread_.join();
  for (const EngineJob& job : left) {
    done_({job.call, Error{Code::kUnavailable, "the engine is stopping"}, {}});
  }
}

void GpuEngine::submit(EngineJob job) { jobs_.put(std::move(job)); }

void GpuEngine::work(std::span<const GpuImage> images, const GpuModel& model,
                     GpuRunnerOptions options) {
  Result<std::unique_ptr<GpuRunner>> made =
      GpuRunner::make(*api_, images, model, std::move(options));
  if (!made.ok()) {
    started_.put(made.error());
    return;
  }
  const std::unique_ptr<GpuRunner> runner = std::move(made).value();
  // Kernels are loaded when they first run; better now than in a request.
  const int32_t id = 0;
  const std::vector<std::span<const int32_t>> row = {{&id, 1}};
  std::vector<float> vector(runner->width());
  const Result<Done> warm = runner->run(row, vector.data());
  width_ = runner->width();
  device_name_ = runner->device().name();
  const bool good = warm.ok();
  started_.put(warm);
  if (!good) return;
  while (const std::optional<EngineJob> job = jobs_.take()) done_(answer(*runner, *job));
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
    done = runner.run(rows, reinterpret_cast<float*>(to));
  });
  if (!done.ok()) return {job.call, done.error(), now_() - start};
  std::vector<Slice> outputs;
  outputs.reserve(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) outputs.emplace_back(chunk, i * bytes, bytes);
  return {job.call, std::move(outputs), now_() - start};
} catch (const std::exception& reason) {
  return {job.call, Error{Code::kInternal, std::string("GPU engine: ") + reason.what()}, {}};
}

Result<std::unique_ptr<Engine>> make_gpu_engine(const GpuModel& model, GpuRunnerOptions options,
                                                EngineSink done) {
  Result<std::unique_ptr<CudaApi>> api = open_cuda_driver();
  if (!api.ok()) return api.error();
  Result<std::unique_ptr<GpuEngine>> engine = GpuEngine::make(
      std::move(api).value(), built_in_images(), model, std::move(options), std::move(done));
  if (!engine.ok()) return engine.error();
  return std::unique_ptr<Engine>(std::move(engine).value());
}

}  // namespace sluice
