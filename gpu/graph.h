// SPDX-License-Identifier: Apache-2.0
#pragma once
// GpuGraphs: the whole computation of a batch, recorded once per number of tokens, so that a batch
// costs the host one call. Texts, lengths and outputs are not part of a recording: kernels read
// them from the batch's block.

#include <cstdint>
#include <memory>
#include <vector>

#include "gpu/batch_block.h"
#include "gpu/device.h"
#include "gpu/memory.h"
#include "gpu/plan.h"
#include "gpu/weights.h"

namespace sluice {

// The memory of the one batch that may be under way, and the graphs that work on it. Used on one
// thread at a time.
class GpuGraphs {
 public:
  // Allocates for at most `tokens_max` tokens in at most `texts_max` texts and captures every
  // graph, smallest first. `device` and `weights` must outlive it. kUnavailable if memory is short.
  static Result<std::unique_ptr<GpuGraphs>> make(GpuDevice& device, const GpuModel& model,
                                                 const GpuWeights& weights, uint32_t tokens_max,
                                                 uint32_t texts_max);
  GpuGraphs(const GpuGraphs&) = delete;
  GpuGraphs& operator=(const GpuGraphs&) = delete;
  ~GpuGraphs();

  // The block to fill before launch(), and where its parts lie for a batch of so many tokens.
  std::byte* block() const { return block_.data(); }
  BatchLayout block_layout(uint32_t tokens) const { return layout(find(tokens).plan.tokens); }
  // Runs the smallest graph that takes `tokens` tokens: one call of the driver. The block and the
  // outputs are the device's until done().
  Result<Done> launch(uint32_t tokens);
  // True once the outputs of the batch with this epoch are there.
  bool done(uint32_t epoch) const;
  // What has gone wrong on the device, if anything.
  Result<Done> check();
  // Outputs: float [texts, header width].
  const float* outputs() const { return reinterpret_cast<const float*>(outputs_.data()); }

  uint32_t tokens_max() const { return tokens_max_; }
  uint32_t texts_max() const { return texts_max_; }
  // For reports: number of graphs; nodes of the one for `tokens` tokens.
  size_t graphs() const { return graphs_.size(); }
  size_t nodes(uint32_t tokens) const { return find(tokens).nodes; }
  // Its plan.
  const BucketPlan& plan(uint32_t tokens) const { return find(tokens).plan; }

 private:
  struct Graph {
    BucketPlan plan;
    CUgraphExec executable = nullptr;
    size_t nodes = 0;
  };
  // Offsets into `arena_`.
  struct Places {
    size_t copy = 0, hidden = 0, sums = 0, wide = 0, context = 0, ticket = 0, bytes = 0;
  };

  BatchLayout layout(uint32_t bucket) const { return batch_layout(bucket, texts_max_); }
  GpuGraphs(GpuDevice& device, const GpuModel& model, const GpuWeights& weights);
  Result<Done> allocate(uint32_t tokens_max, uint32_t texts_max);
  Result<Done> capture(uint32_t tokens);
  Result<Done> record(const BucketPlan& plan);
  Result<Done> record_layer(const BucketPlan& plan, const LayerPlace& layer);
  Result<Done> record_few(const BucketPlan& plan);
  Result<Done> record_attention(const BucketPlan& plan);
  Result<Done> record_output(const BucketPlan& plan);
  Result<Done> record_product(const KernelPlan& product, const KernelPlan& norm,
                              const LinearPlace& linear, const NormPlace* scales,
                              GemmParams params);
  Result<Done> record_norm(const KernelPlan& norm, const NormPlace& scales, size_t from);
  Result<Done> launch(const KernelPlan& plan, void* parameters);
  template <typename Params>
  Result<Done> launch_with(const KernelPlan& plan, Params params) {
    return launch(plan, &params);
  }
  const Graph& find(uint32_t tokens) const;

  GpuDevice& device_;
  const GpuShape shape_;
  const bool classifies_;
  const GpuWeights& weights_;
  uint32_t tokens_max_ = 0;
  uint32_t texts_max_ = 0;
  Places places_;
  HostMemory block_, outputs_, flag_;
  DeviceMemory arena_;
  CUstream stream_ = nullptr;
  std::vector<Graph> graphs_;
};

}  // namespace sluice
