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
    uint64_t seed = 1;
  };
  explicit ReferenceBert(Options options);

  // Writes config.json, modules.json, 1_Pooling/config.json and model.safetensors.
  void write(const TempFolder& folder) const;
  // The pooled vector of one text.
  std::vector<double> embed(std::span<const int32_t> ids) const;
  // Token ids drawn from the vocabulary.
  std::vector<int32_t> random_ids(size_t count, uint64_t seed) const;

 private:
  using Rows = std::vector<std::vector<double>>;
  struct Tensor {
    std::vector<uint64_t> shape;
    std::vector<float> values;
  };
  void add(const std::string& name, std::vector<uint64_t> shape, double centre, double spread);
  void add_linear(const std::string& name, uint64_t outputs, uint64_t inputs);
  void add_norm(const std::string& name);
  double at(const std::string& name, size_t i) const;
  Rows linear(const Rows& x, const std::string& name) const;
  void norm(Rows& x, const std::string& name) const;
  Rows attention(const Rows& x, const std::string& layer) const;

  Options options_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace sluice
