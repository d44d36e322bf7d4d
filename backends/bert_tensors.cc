// SPDX-License-Identifier: Apache-2.0
#include "backends/bert_tensors.h"

#include <optional>
#include <string>
#include <string_view>

namespace sluice {
namespace {

// Looks tensors up and remembers the first failure, so that the list below reads as a list.
class Finder {
 public:
  explicit Finder(const SafetensorsFile& file)
      : file_(file),
        prefix_(file.find("bert.embeddings.word_embeddings.weight") != nullptr ? "bert." : "") {}

  const TensorView* find(const std::string& name, const std::vector<uint64_t>& shape) {
    return check(prefix_ + name, file_.find(prefix_ + name), shape);
  }
  LinearTensors linear(const std::string& name, uint64_t outputs, uint64_t inputs) {
    return {find(name + ".weight", {outputs, inputs}), find(name + ".bias", {outputs})};
  }
  // What stands beside the encoder, and so has no prefix.
  LinearTensors head(const std::string& name, uint64_t outputs, uint64_t inputs) {
    const std::string weight = name + ".weight";
    const std::string bias = name + ".bias";
    return {check(weight, file_.find(weight), {outputs, inputs}),
            check(bias, file_.find(bias), {outputs})};
  }
  // Checkpoints converted from TensorFlow call scale and shift gamma and beta.
  NormTensors norm(const std::string& name, uint64_t width) {
    const bool old_names = file_.find(prefix_ + name + ".gamma") != nullptr;
    return {find(name + (old_names ? ".gamma" : ".weight"), {width}),
            find(name + (old_names ? ".beta" : ".bias"), {width})};
  }
  const std::optional<Error>& failure() const { return failure_; }

 private:
  const TensorView* check(const std::string& name, const TensorView* tensor,
                          const std::vector<uint64_t>& shape) {
    if (failure_) return nullptr;
    const std::string start = file_.path() + ": tensor '" + name + "' ";
    if (tensor == nullptr) {
      failure_ = Error{Code::kInvalid, start + "is missing"};
    } else if (tensor->shape != shape) {
      failure_ = Error{Code::kInvalid, start + "has shape " + shape_text(tensor->shape) +
                                           ", but config.json asks for " + shape_text(shape)};
    } else if (!tensor_is_float(*tensor)) {
      failure_ = Error{Code::kInvalid, start + "is " + std::string(tensor_type_name(tensor->type)) +
                                           "; F32, F16 and BF16 are supported"};
    }
    return failure_ ? nullptr : tensor;
  }

  const SafetensorsFile& file_;
  std::string prefix_;
  std::optional<Error> failure_;
};

}  // namespace

Result<BertTensors> find_bert_tensors(const SafetensorsFile& file, const BertConfig& config) {
  Finder finder(file);
  const uint64_t hidden = config.hidden;
  const uint64_t intermediate = config.intermediate;
  BertTensors tensors;
  tensors.words = finder.find("embeddings.word_embeddings.weight", {config.vocabulary, hidden});
  tensors.positions =
      finder.find("embeddings.position_embeddings.weight", {config.positions, hidden});
  tensors.types = finder.find("embeddings.token_type_embeddings.weight", {config.types, hidden});
  tensors.embeddings_norm = finder.norm("embeddings.LayerNorm", hidden);
  for (uint32_t i = 0; i < config.layers && !finder.failure(); ++i) {
    const std::string at = "encoder.layer." + std::to_string(i) + ".";
    BertLayerTensors layer;
    layer.query = finder.linear(at + "attention.self.query", hidden, hidden);
    layer.key = finder.linear(at + "attention.self.key", hidden, hidden);
    layer.value = finder.linear(at + "attention.self.value", hidden, hidden);
    layer.attention_output = finder.linear(at + "attention.output.dense", hidden, hidden);
    layer.attention_norm = finder.norm(at + "attention.output.LayerNorm", hidden);
    layer.intermediate = finder.linear(at + "intermediate.dense", intermediate, hidden);
    layer.output = finder.linear(at + "output.dense", hidden, intermediate);
    layer.output_norm = finder.norm(at + "output.LayerNorm", hidden);
    tensors.layers.push_back(layer);
  }
  if (config.labels != 0) {
    tensors.pooler = finder.linear("pooler.dense", hidden, hidden);
    tensors.classifier = finder.head("classifier", config.labels, hidden);
  }
  if (finder.failure()) return *finder.failure();
  return tensors;
}

}  // namespace sluice
