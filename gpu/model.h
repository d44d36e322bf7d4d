// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the GPU engine must be told of a BERT model: its numbers and where its tensors lie. Whoever
// has read a model folder fills this in; gpu_model_of() does it for anything shaped like one.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/batch_block.h"

namespace sluice {

// Element types of weights as they lie on disk.
enum class GpuTensorType { kF32, kF16, kBf16 };

// One tensor, row-major, not necessarily aligned. Without bytes the model has none.
struct GpuTensor {
  std::string name;  // for messages
  GpuTensorType type = GpuTensorType::kF32;
  std::span<const std::byte> bytes;
};

// y = x * weight^T + bias: weight [outputs, inputs], bias [outputs].
struct GpuLinear {
  GpuTensor weight, bias;
};
// Scale and shift, [hidden] each.
struct GpuNorm {
  GpuTensor scale, shift;
};
// An encoder layer, in the order of the computation.
struct GpuLayer {
  GpuLinear query, key, value, attention_output;
  GpuNorm attention_norm;
  GpuLinear intermediate, output;
  GpuNorm output_norm;
};

// The numbers that decide the shape of the computation.
struct GpuShape {
  uint32_t layers = 0;
  uint32_t hidden = 0;        // at most 1024; a multiple of 64
  uint32_t heads = 0;         // of 32 or 64 values each
  uint32_t intermediate = 0;  // a multiple of 64
  uint32_t vocabulary = 0;
  uint32_t positions = 0;
  uint32_t types = 0;
  uint32_t labels = 0;      // of a classifier; 0: the outputs are vectors
  uint32_t tokens_max = 0;  // of one text
  float epsilon = 1e-12F;

  // Values of a head.
  uint32_t head() const { return hidden / heads; }
  // Values of an output.
  uint32_t width() const { return labels != 0 ? labels : hidden; }
};

// A model. The tensors' bytes are borrowed.
struct GpuModel {
  GpuShape shape;
  GpuOutput output = GpuOutput::kMean;
  GpuFinish finish = GpuFinish::kUnit;
  GpuTensor words, positions, types;
  GpuNorm embeddings_norm;
  std::vector<GpuLayer> layers;
  GpuLinear pooler, classifier;  // of a classifier
};

// The model of a folder that was read elsewhere: `folder` has a config, tensors that may be null
// and say their type's name and bytes, and a pooling. A template, because this layer does not know
// the one that reads folders. `type_name(tensor)` gives "F32", "F16" or "BF16".
template <typename Folder, typename TypeName>
GpuModel gpu_model_of(const Folder& folder, bool first_token, TypeName&& type_name) {
  const auto tensor = [&](const auto* from) {
    GpuTensor to;
    if (from == nullptr) return to;
    const std::string_view type = type_name(*from);
    to.name = from->name;
    to.type = type == "F32"   ? GpuTensorType::kF32
              : type == "F16" ? GpuTensorType::kF16
                              : GpuTensorType::kBf16;
    to.bytes = from->bytes;
    return to;
  };
  const auto linear = [&](const auto& from) {
    return GpuLinear{tensor(from.weight), tensor(from.bias)};
  };
  const auto norm = [&](const auto& from) {
    return GpuNorm{tensor(from.scale), tensor(from.shift)};
  };
  const auto& config = folder.config;
  GpuModel model;
  model.shape = {config.layers,     config.hidden,
                 config.heads,      config.intermediate,
                 config.vocabulary, config.positions,
                 config.types,      config.labels,
                 folder.tokens_max, config.layer_norm_epsilon};
  model.output = config.labels != 0 ? GpuOutput::kLabels
                 : first_token      ? GpuOutput::kFirst
                                    : GpuOutput::kMean;
  model.finish = config.labels == 0 && folder.normalize ? GpuFinish::kUnit : GpuFinish::kRaw;
  model.words = tensor(folder.tensors.words);
  model.positions = tensor(folder.tensors.positions);
  model.types = tensor(folder.tensors.types);
  model.embeddings_norm = norm(folder.tensors.embeddings_norm);
  for (const auto& layer : folder.tensors.layers) {
    model.layers.push_back({linear(layer.query), linear(layer.key), linear(layer.value),
                            linear(layer.attention_output), norm(layer.attention_norm),
                            linear(layer.intermediate), linear(layer.output),
                            norm(layer.output_norm)});
  }
  model.pooler = linear(folder.tensors.pooler);
  model.classifier = linear(folder.tensors.classifier);
  return model;
}

}  // namespace sluice
