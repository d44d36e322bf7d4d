// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which tensors a BERT encoder needs, under which names and with which shapes. Found once, when
// the model is read, so that a file that lacks one or has it in another shape is refused with the
// tensor's name before any memory is spent on it.

#include <cstdint>
#include <vector>

#include "backends/safetensors.h"
#include "base/result.h"

namespace sluice {

// The numbers of config.json that decide the shape of the computation.
struct BertConfig {
  uint32_t layers = 0;
  uint32_t hidden = 0;        // width of a token's vector
  uint32_t heads = 0;         // divides `hidden`
  uint32_t intermediate = 0;  // width between the two products of the feed-forward part
  uint32_t vocabulary = 0;
  uint32_t positions = 0;  // longest sequence the position table has rows for
  uint32_t types = 0;      // segments; the first two are used
  uint32_t labels = 0;     // of a classifier; 0: there is no head, the model is an encoder
  float layer_norm_epsilon = 1e-12F;

  uint32_t head_width() const { return hidden / heads; }
};

// A product with bias: weight [outputs, inputs], bias [outputs].
struct LinearTensors {
  const TensorView* weight = nullptr;
  const TensorView* bias = nullptr;
};
// Scale and shift of a layer norm: [hidden] each.
struct NormTensors {
  const TensorView* scale = nullptr;
  const TensorView* shift = nullptr;
};
// One encoder layer, in the order of the computation.
struct BertLayerTensors {
  LinearTensors query, key, value, attention_output;
  NormTensors attention_norm;
  LinearTensors intermediate, output;
  NormTensors output_norm;
};
// All tensors of a model, by role. The pointers are into the SafetensorsFile they were found in.
struct BertTensors {
  const TensorView* words = nullptr;      // [vocabulary, hidden]
  const TensorView* positions = nullptr;  // [positions, hidden]
  const TensorView* types = nullptr;      // [types, hidden]
  NormTensors embeddings_norm;
  std::vector<BertLayerTensors> layers;
  // Of a classifier; null else.
  LinearTensors pooler;      // [hidden, hidden], on the first token's vector, before a tanh
  LinearTensors classifier;  // [labels, hidden], on what that gives
};

// Finds every tensor `config` asks for in `file`, with or without the prefix "bert." (which the
// classifier's never have). Tensors it does not need (heads, position ids) are ignored. kInvalid,
// naming tensor and file, if one is missing, has another shape or is not F32, F16 or BF16.
Result<BertTensors> find_bert_tensors(const SafetensorsFile& file, const BertConfig& config);

}  // namespace sluice
