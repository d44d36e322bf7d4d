// SPDX-License-Identifier: Apache-2.0
#pragma once
// BERT as its definition reads: loops in double precision, no batch, no packing, nothing shared
// with the engine but the configuration. With seeded random weights, which it can write to a folder
// for the engine to load.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "backends/bert_tensors.h"
#include "backends/model_folder.h"
#include "tests/model_files.h"

namespace sluice {

class ReferenceBert {
 public:
  struct Options {
    BertConfig config;
    Pooling pooling = Pooling::kMean;
    bool normalize = true;
    std::string prefix = "";    // of the tensor names, "" or "bert."
    std::string type = "F32";   // of the weights: "F32" or "BF16"
    std::string left_out = {};  // a tensor (without prefix) not to write
    std::string problem = {};   // problem_type of config.json, if not empty
    uint64_t seed = 1;
  };
  explicit ReferenceBert(Options options);

  // Writes config.json, model.safetensors and, for an encoder (config.labels is 0), modules.json
  // and 1_Pooling/config.json.
  void write(const TempFolder& folder) const;
  // The pooled vector of one row, which is as EngineJob has it.
  std::vector<double> embed(std::span<const int32_t> row) const;
  // A classifier's logits of one row.
  std::vector<double> logits(std::span<const int32_t> row) const;
  // Token ids drawn from the vocabulary.
  std::vector<int32_t> random_ids(size_t count, uint64_t seed) const;
  // The same for a pair: tokens of the first segment, then of the second.
  std::vector<int32_t> random_pair(size_t first, size_t second, uint64_t seed) const;

  // The classifiers and the rows, from 0 to kGoldenRows, of tests/golden/classifier.jsonl.
  static constexpr size_t kGoldenRows = 24;
  static Options golden_options(uint32_t labels);
  std::vector<int32_t> golden_row(size_t index) const;

 private:
  using Rows = std::vector<std::vector<double>>;
  struct Tensor {
    std::vector<uint64_t> shape;
    std::vector<float> values;
  };
  void write_weights(const TempFolder& folder) const;
  void add(const std::string& name, std::vector<uint64_t> shape, double centre, double spread);
  void add_linear(const std::string& name, uint64_t outputs, uint64_t inputs);
  void add_norm(const std::string& name);
  double at(const std::string& name, size_t i) const;
  // Names of classes and their kind, for config.json; empty for an encoder.
  std::string head_json() const;
  // The vectors of the last layer.
  Rows encode(std::span<const int32_t> row) const;
  Rows linear(const Rows& x, const std::string& name) const;
  void norm(Rows& x, const std::string& name) const;
  Rows attention(const Rows& x, const std::string& layer) const;

  Options options_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace sluice
