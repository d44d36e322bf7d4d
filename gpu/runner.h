// SPDX-License-Identifier: Apache-2.0
#pragma once
// GpuRunner: rows of token ids in, vectors or logits out, on the thread that calls. One call of the
// driver per batch; the rest is written to and read from memory that both sides see.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/time.h"
#include "gpu/graph.h"

namespace sluice {

// What a GpuRunner is made with.
struct GpuRunnerOptions {
  int device = 0;
  uint32_t tokens_max = 16384;  // of one launch; at most kGraphTokensMax
  uint32_t texts_max = 2048;    // of one launch
  // How long the calling thread waits for a launch without giving up its core.
  Duration spin_max = milliseconds(5);
  // A launch that takes longer has failed.
  Duration launch_max = seconds(30);
  // How long before its expected end a batch is about to end; at most half of what it takes.
  Duration ending_lead = microseconds(100);
  // The time; called on the thread that runs. REQUIRED.
  std::function<Instant()> now;
};

// Used on one thread at a time; use() first on each.
class GpuRunner {
 public:
  // Opens the device, loads kernels and weights, captures the graphs; a second or so. `api` must
  // outlive the runner; `model` may go. kInvalid for a model or option that cannot be,
  // kUnavailable without a device or memory, kInternal for what else fails.
  static Result<std::unique_ptr<GpuRunner>> make(CudaApi& api, std::span<const GpuImage> images,
                                                 const GpuModel& model, GpuRunnerOptions options);

  // Makes the device current on this thread.
  Result<Done> use() const { return device_->use(); }
  // Writes one output per row to `out` [rows.size(), width()]. Rows are as EngineJob has them. As
  // many launches as tokens_max and texts_max make of them, usually one. kInvalid, and nothing
  // computed, if a row is empty, too long, or has a token the model has not; the message says
  // which. kUnavailable if the device fails: it is of no use any more, see failed().
  // `soon` is called again and again, between two looks at the device, once the last launch is
  // expected to end within ending_lead, judged by earlier ones of its graph; not at all if it ends
  // sooner. It must not throw.
  Result<Done> run(std::span<const std::span<const int32_t>> rows, float* out,
                   const std::function<void()>& soon = {});
  // True after an error of the device. Every run() then fails at once.
  bool failed() const { return failed_; }

  // Gives the weights' memory back. load() or the next run() loads them again. REQUIRES: loaded()
  Result<Done> unload() { return weights_.unload(); }
  // Loads them, to the same addresses. kUnavailable if memory is short. REQUIRES: !loaded()
  Result<Done> load() { return weights_.load(); }
  bool loaded() const { return weights_.loaded(); }

  size_t width() const { return shape_.width(); }
  uint32_t tokens_max() const { return shape_.tokens_max; }
  const GpuDevice& device() const { return *device_; }
  const GpuGraphs& graphs() const { return *graphs_; }

 private:
  GpuRunner(GpuRunnerOptions options, const GpuModel& model);
  Result<Done> check(std::span<const std::span<const int32_t>> rows) const;
  Result<Done> launch(std::span<const std::span<const int32_t>> rows, uint32_t tokens, float* out,
                      const std::function<void()>& soon);
  void fill(std::span<const std::span<const int32_t>> rows, uint32_t tokens);
  Result<Done> wait(Duration& expected, const std::function<void()>& soon);

  const GpuRunnerOptions options_;
  const GpuShape shape_;
  const GpuOutput output_;
  const GpuFinish finish_;
  std::unique_ptr<GpuDevice> device_;
  GpuWeights weights_;
  std::unique_ptr<GpuGraphs> graphs_;
  std::map<uint32_t, Duration> expected_;  // what a batch takes, by its graph's tokens
  uint32_t epoch_ = 0;
  bool failed_ = false;
};

}  // namespace sluice
