// SPDX-License-Identifier: Apache-2.0
#pragma once
// The CPU engine: a BERT encoder on worker threads. Each worker runs one batch at a time on its
// own core with its own buffers; they share the packed weights. One thread per batch is right
// because threads inside a batch must wait for each other many times per layer, and lose whole
// time slices when the I/O thread takes one of their cores.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "backends/bert.h"
#include "backends/engine.h"
#include "backends/model_folder.h"
#include "backends/precision.h"
#include "base/result.h"
#include "base/time.h"
#include "base/work_queue.h"

namespace sluice {

// The smallest cosine between bfloat16 and float32 vectors with which kAuto takes bfloat16.
inline constexpr double kProbeCosineMin = 0.9999;
// The same of a classifier: the largest difference of a logit.
inline constexpr double kProbeLogitDifferenceMax = 0.05;

// What a CpuEngine is made with.
struct CpuEngineOptions {
  uint32_t threads = 0;  // workers; 0: worker_count_default()
  PrecisionChoice precision = PrecisionChoice::kAuto;
  // Added to the workers' nice value, so that I/O threads go first.
  int nice = 5;
  // Measures `busy`; called on the workers' threads. REQUIRED.
  std::function<Instant()> now;
};

// Rows and outputs are those of BERT engines as EngineJob and EngineDone have them; an output is
// width() numbers.
class CpuEngine final : public Engine {
 public:
  // Packs the weights, chooses the precision, starts the workers and runs each once, so that the
  // first request finds everything warm; about a second. `done` as described at Engine. Errors as
  // BertModel::load(), or kInternal if memory or threads fail.
  static Result<std::unique_ptr<CpuEngine>> make(ModelFolder folder, CpuEngineOptions options,
                                                 EngineSink done);
  // Finishes the batches that run, answers those that wait with kUnavailable, ends the threads.
  ~CpuEngine() override;

  // Jobs beyond slots() wait for a worker.
  void submit(EngineJob job) override;
  uint32_t slots() const override { return slots_; }

  size_t width() const { return model_->width(); }
  size_t tokens_max() const { return model_->tokens_max(); }
  Precision precision() const { return model_->precision(); }
  // The smallest cosine between bfloat16 and float32 vectors that the probe saw; nothing if there
  // was no probe, or the model is a classifier.
  std::optional<double> probe_cosine() const { return probe_cosine_; }
  // The largest difference between a classifier's logits in bfloat16 and float32 that the probe
  // saw; nothing if there was no probe, or the model is an encoder.
  std::optional<double> probe_logit_difference() const { return probe_logit_difference_; }

 private:
  struct Worker;
  explicit CpuEngine(ModelFolder folder, CpuEngineOptions options, EngineSink done);
  Result<Done> load();
  Result<Done> choose();
  bool agree(const std::vector<float>& exact, const std::vector<float>& low, size_t width);
  Result<Done> start();
  void work(Worker& worker);
  EngineDone answer(Worker& worker, const EngineJob& job) const;

  // Constant after make().
  const ModelFolder folder_;
  const CpuEngineOptions options_;
  const EngineSink done_;
  uint32_t slots_ = 0;
  std::unique_ptr<BertModel> model_;
  std::optional<double> probe_cosine_;
  std::optional<double> probe_logit_difference_;

  WorkQueue<EngineJob> jobs_;
  std::atomic<uint32_t> warming_ = 0;  // workers that have not run their first batch

  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace sluice
