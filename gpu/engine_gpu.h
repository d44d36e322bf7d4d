// SPDX-License-Identifier: Apache-2.0
#pragma once
// The GPU engine: a BERT model on one GPU, driven by one thread. One job at a time: the device
// works on one batch as fast as on two halves of it, and rows that come meanwhile make the next
// batch.

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>

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
  void obey(GpuRunner& runner, const Order& order);
  void unload(GpuRunner& runner);
  Result<Done> load(GpuRunner& runner);
  EngineDone answer(GpuRunner& runner, const EngineJob& job);
  Result<Done> run(GpuRunner& runner, std::span<const std::span<const int32_t>> rows, float* out);

  const std::unique_ptr<CudaApi> api_;
  CountingCuda counting_;
  const EngineSink done_;
  // Constant after make().
  size_t width_ = 0;
  std::string device_name_;
  CudaNodes nodes_;
  std::function<Instant()> now_;

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
