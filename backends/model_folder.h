// SPDX-License-Identifier: Apache-2.0
#pragma once
// A Hugging Face model folder: what its small JSON files say, checked, and its weights, mapped.
// Anything that would change the answer and is not supported is refused with the file and the
// field, because a model that runs and gives other vectors than its authors' is worse than none.

#include <cstdint>
#include <string>
#include <vector>

#include "backends/bert_tensors.h"
#include "backends/classifier_head.h"
#include "backends/prompts.h"
#include "backends/safetensors.h"
#include "base/result.h"

namespace sluice {

// How the vectors of a text's tokens become one.
enum class Pooling { kMean, kCls };

// Sizes that vectors may be cut to: config.json's "matryoshka_dimensions", or any if it says
// "is_matryoshka" without them. A model that says neither was not trained for it.
struct CutSizes {
  std::vector<uint32_t> sizes;
  bool any = false;
};

// A BERT encoder or classifier as it lies on disk. `tensors` points into `weights`; a move keeps
// that valid.
struct ModelFolder {
  std::string path;
  BertConfig config;
  Pooling pooling = Pooling::kMean;
  bool normalize = true;  // scale each vector to length one
  CutSizes cut;
  Prompts prompts;
  ClassifierHead head;      // no labels: an encoder
  uint32_t tokens_max = 0;  // longest sequence, special tokens included; at most config.positions
  SafetensorsFile weights;
  BertTensors tensors;
};

// Reads config.json, model.safetensors and, where they exist, modules.json, the pooling module's
// config.json, sentence_bert_config.json and config_sentence_transformers.json from the folder
// `path`. Without modules.json the vectors are mean-pooled (or as 1_Pooling/config.json says) and
// normalised. A BertForSequenceClassification is a classifier, unless modules.json has it pooled.
// kNotFound if the folder or a file it needs is not there; kInvalid, naming file and field or
// tensor, for what cannot be read or is not supported.
Result<ModelFolder> read_model_folder(const std::string& path);

}  // namespace sluice
