// SPDX-License-Identifier: Apache-2.0
#pragma once
// The forward pass of a BERT encoder or classifier on the CPU, without padding: the tokens of
// several texts are the rows of one matrix, and only attention looks at one text at a time.
//
// A batch is worked off in chunks of whole texts of about 256 tokens. The products are at full
// speed from eight rows on, so a taller matrix would gain nothing, while a chunk's activations
// stay in the second-level cache and the memory a thread needs does not grow with the batch.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/gemm_dnnl.h"
#include "backends/kernels.h"
#include "backends/model_folder.h"
#include "backends/pages.h"
#include "base/result.h"

namespace sluice {

// What activations and weights are stored as; sums are float32 in both.
enum class Precision { kF32, kBf16 };

// The weights of a model, packed for one precision. Immutable after load(); threads share it.
class BertModel {
 public:
  // Packs the weights of `folder`, which must outlive the model: the word table is read from its
  // mapping. `dnnl` leaves bfloat16 products to oneDNN, which pays where there is AMX; else our own
  // kernels compute them. kInvalid if `precision` is kBf16 and the CPU has no instructions for it;
  // kInternal if memory or oneDNN fails.
  static Result<std::unique_ptr<BertModel>> load(const ModelFolder& folder, Precision precision,
                                                 bool dnnl = cpu_has_amx());

  const BertConfig& config() const { return config_; }
  Precision precision() const { return precision_; }
  // Numbers in an output: the width of a vector, or a classifier's labels.
  size_t width() const { return config_.labels != 0 ? config_.labels : config_.hidden; }
  // Longest row a runner takes.
  size_t tokens_max() const { return tokens_max_; }

 private:
  friend class BertRunner;
  // The products of a layer, which differ in shape and in what happens to their sums.
  enum Product { kQkv, kAttentionOutput, kIntermediate, kOutput, kProducts };
  // Where the parts of a linear or norm lie in `pages_`.
  struct Linear {
    size_t packed = 0;
    size_t bias = 0;
  };
  struct Norm {
    size_t scale = 0;
    size_t shift = 0;
  };
  struct Layer {
    std::array<Linear, kProducts> linears;
    Norm attention_norm, output_norm;
  };

  BertModel() = default;
  Result<Done> make_plans(bool dnnl);
  void lay_out(PageLayout& layout);
  Result<Done> fill(const BertTensors& tensors);
  Result<Done> fill_layer(const BertLayerTensors& tensors, const Layer& layer,
                          std::vector<float>& staging);
  GemmShape shape(Product product) const;
  size_t packed_bytes(Product product) const;
  Result<Done> pack(Product product, const float* weights, const Linear& to);
  void fill_floats(const TensorView& tensor, size_t at, float factor = 1.0F);
  void fill_norm(const NormTensors& tensors, const Norm& norm);
  void fill_positions(const BertTensors& tensors);
  void lay_out_head(PageLayout& layout);
  void fill_head(const BertTensors& tensors, std::vector<float>& staging);
  float* floats(size_t at) { return reinterpret_cast<float*>(pages_.data() + at); }
  const float* floats(size_t at) const {
    return reinterpret_cast<const float*>(pages_.data() + at);
  }

  BertConfig config_;
  Precision precision_ = Precision::kF32;
  Pooling pooling_ = Pooling::kMean;
  bool normalize_ = true;
  size_t tokens_max_ = 0;
  const Kernels* kernels_ = nullptr;
  const TensorView* words_ = nullptr;
  std::array<std::unique_ptr<GemmPlan>, kProducts> plans_;  // null without oneDNN
  Pages pages_;                                             // everything below lies in it
  size_t positions_ = 0;       // [positions, hidden], the first segment's vector added
  size_t second_segment_ = 0;  // [hidden]: the second segment's vector less the first's
  Norm embeddings_norm_;
  std::vector<Layer> layers_;
  // Of a classifier: float32 in both precisions, for both together are less than a layer's tenth.
  Linear pooler_;      // packed for Kernels::product
  Linear classifier_;  // as it lies in the file
};

// What one thread needs to run a model: buffers for a chunk and handles. Used by one thread at a
// time.
class BertRunner {
 public:
  // `model` must outlive the runner. kInternal if memory or oneDNN fails.
  static Result<std::unique_ptr<BertRunner>> make(const BertModel& model);

  // Writes one pooled vector per row, or a classifier's logits, to `out` [rows.size(),
  // model.width()]. A row is as EngineJob has it. kInvalid, and nothing computed, if a row is
  // empty, longer than model.tokens_max() or has an id outside the vocabulary, or a second segment
  // that the model has not; the message says which row.
  Result<Done> embed(std::span<const std::span<const int32_t>> rows, float* out);

 private:
  explicit BertRunner(const BertModel& model) : model_(model) {}
  Result<Done> make_callers();
  Result<Done> make_buffers();
  Result<Done> check(std::span<const std::span<const int32_t>> rows) const;
  Result<Done> chunk(std::span<const std::span<const int32_t>> rows, size_t tokens, float* out);
  Result<Done> layer(std::span<const std::span<const int32_t>> rows, size_t tokens,
                     const BertModel::Layer& layer);
  Result<Done> product(BertModel::Product product, const BertModel::Layer& layer, size_t tokens,
                       const void* x, void* y);
  size_t filled(size_t tokens) const;
  void look_up(std::span<const std::span<const int32_t>> rows, size_t tokens);
  void attend(std::span<const std::span<const int32_t>> rows);
  void norm(const BertModel::Norm& norm, size_t tokens);
  void pool(std::span<const std::span<const int32_t>> rows, float* out) const;
  void classify(std::span<const std::span<const int32_t>> rows, float* out);

  const BertModel& model_;
  std::array<std::unique_ptr<GemmCaller>, BertModel::kProducts> callers_;  // null without oneDNN
  Pages pages_;                     // the buffers below lie in it; T is float or bfloat16
  float* hidden_ = nullptr;         // [chunk rows, hidden]
  uint16_t* hidden_low_ = nullptr;  // the same in bfloat16; null in F32
  void* qkv_ = nullptr;             // [chunk rows, 3 * hidden] T
  void* context_ = nullptr;         // [chunk rows, hidden] T
  void* intermediate_ = nullptr;    // [chunk rows, intermediate] T
  float* firsts_ = nullptr;         // [chunk rows, hidden], first tokens; null without a head
  float* pooled_ = nullptr;         // [chunk rows, hidden]; null without a head
  void* gemm_scratch_ = nullptr;
  void* attention_scratch_ = nullptr;
};

}  // namespace sluice
