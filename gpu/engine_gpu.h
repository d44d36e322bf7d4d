// SPDX-License-Identifier: Apache-2.0
#pragma once
// The GPU engine: a BERT model on one GPU, driven by one thread. One job at a time: the device
// works on one batch as fast as on two halves of it, and rows that come meanwhile make the next
// batch.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "backends/engine.h"
#include "base/result.h"
#include "base/work_queue.h"
#include "gpu/runner.h"

namespace sluice {

// Rows are as EngineJob has them; outputs are vectors, or a classifier's logits, of width() floats.
class GpuEngine final : public Engine {
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

  size_t width() const { return width_; }
  // The device's name, e.g. "NVIDIA H100 80GB HBM3".
  const std::string& device_name() const { return device_name_; }

 private:
  GpuEngine(std::unique_ptr<CudaApi> api, EngineSink done);
  void work(std::span<const GpuImage> images, const GpuModel& model, GpuRunnerOptions options);
  EngineDone answer(GpuRunner& runner, const EngineJob& job);

  const std::unique_ptr<CudaApi> api_;
  const EngineSink done_;
  size_t width_ = 0;
  std::string device_name_;
  std::function<Instant()> now_;
  WorkQueue<EngineJob> jobs_;
  WorkQueue<Result<Done>> started_;  // how the start went, once
  std::thread thread_;
};

// The engine on this machine's own driver, with the kernels built into this program. kUnavailable
// without a driver or a device, and as GpuEngine::make().
Result<std::unique_ptr<Engine>> make_gpu_engine(const GpuModel& model, GpuRunnerOptions options,
                                                EngineSink done);

}  // namespace sluice
