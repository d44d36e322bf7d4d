// SPDX-License-Identifier: Apache-2.0
#pragma once
// The GPU engine: a BERT model on one GPU, driven by one thread. One job at a time: the device
// works on one batch as fast as on two halves of it, and rows that come meanwhile make the next
// batch. That is asked for shortly before the one that runs is expected to end, and made ready
// while it does, so that the device goes on at once.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "backends/engine.h"
#include "base/result.h"
#include "base/work_queue.h"
#include "gpu/cuda_counting.h"
#include "gpu/runner.h"

namespace sluice {

// Rows are as EngineJob has them; outputs are vectors, or a classifier's logits, of width() floats.
class GpuEngine final : public DeviceEngine {
 public:
  // Starts the thread; everything else is as GpuRunner::make() says, and happens on that thread.
  // `done` as described at Engine.
  static Result<std::unique_ptr<GpuEngine>> make(std::unique_ptr<CudaApi> api,
                                                 std::span<const GpuImage> images,
                                                 const GpuModel& model, GpuRunnerOptions options,
                                                 EngineSink done);
  // Finishes the batch that runs, answers those that wait with kUnavailable, ends the thread.
  ~GpuEngine() override;

  // A job whose device fails is answered with kUnavailable: its rows may go elsewhere.
  void submit(EngineJob job) override;
  uint32_t slots() const override { return 1; }
  bool tells_ending() const override { return true; }
  void on_ending(const EndingSink& ending) override { ending_ = ending; }

  Absence absence() const override { return absence_; }
  void unload() override;
  void load() override;
  DeviceStats stats() const override;
  const std::string& device_name() const override { return device_name_; }

  size_t width() const { return width_; }

 private:
  // What the thread is told to do.
  struct Order {
    enum class Kind { kRun, kUnload, kLoad };
    Kind kind = Kind::kRun;
    EngineJob job;  // of kRun
  };

  GpuEngine(std::unique_ptr<CudaApi> api, EngineSink done);
  void work(std::span<const GpuImage> images, const GpuModel& model, GpuRunnerOptions options);
  Result<Done> warm_up(GpuRunner& runner);
  // A job as the runner takes it. It holds what its spans point to.
  struct Batch {
    CallId call = 0;
    std::vector<int32_t> ids;
    std::vector<std::span<const int32_t>> rows;
    std::optional<Error> error;  // a row is no list of ids
  };
  static Batch read(const EngineJob& job);
  std::optional<Order> next_order();
  void look_ahead(CallId running) noexcept;
  void obey(GpuRunner& runner, const Order& order);
  void unload(GpuRunner& runner);
  Result<Done> load(GpuRunner& runner);
  EngineDone answer(GpuRunner& runner, const EngineJob& job);
  Result<Done> run(GpuRunner& runner, const Batch& batch, float* out);

  const std::unique_ptr<CudaApi> api_;
  CountingCuda counting_;
  const EngineSink done_;
  // Constant after make().
  size_t width_ = 0;
  std::string device_name_;
  CudaNodes nodes_;
  std::function<Instant()> now_;
  EndingSink ending_;  // null: nobody wants to know

  // The engine's thread's alone: the call that ending_ was told of last, and what was taken from
  // the queue ahead of its time, a job with its batch.
  std::optional<CallId> told_;
  std::optional<Order> ahead_;
  std::optional<Batch> ahead_batch_;

  std::atomic<Absence> absence_ = Absence::kNone;
  std::atomic<bool> loading_ = false;  // a kLoad is under way
  // Of DeviceStats; the engine's thread writes them.
  std::atomic<uint64_t> batches_ = 0, submissions_ = 0, weight_loads_ = 0;
  std::atomic<int64_t> busy_ns_ = 0;

  WorkQueue<Order> orders_;
  WorkQueue<Result<Done>> started_;  // how the start went, once
  std::thread thread_;
};

// The number of GPUs that this machine's driver shows to this process, which is never 0:
// kUnavailable, saying in one sentence what is missing, without a driver or a GPU.
Result<int> count_gpus();

// The engine on this machine's own driver, with the kernels built into this program. kUnavailable
// without a driver or a device, and as GpuEngine::make().
Result<std::unique_ptr<DeviceEngine>> make_gpu_engine(const GpuModel& model,
                                                      GpuRunnerOptions options, EngineSink done);

}  // namespace sluice
