// SPDX-License-Identifier: Apache-2.0
#pragma once
// What config.json says of a model that classifies: its classes, and how their logits become
// scores.

#include <span>
#include <string>
#include <vector>

#include "backends/json_file.h"
#include "base/result.h"

namespace sluice {

// What makes scores of logits.
enum class Activation { kNone, kSigmoid, kSoftmax };

struct ClassifierHead {
  std::vector<std::string> labels;  // by class; empty for an encoder
  Activation activation = Activation::kNone;
};

// Reads architectures, id2label, num_labels and problem_type of the config.json `file`. No labels
// unless the architecture is BertForSequenceClassification. As transformers has it: id2label names
// the classes, else num_labels counts them, else there are two; one class is scored by a sigmoid,
// several by a softmax, unless problem_type is multi_label_classification (sigmoid) or regression
// (the logits as they are). kInvalid, naming the field, for what contradicts itself or is unknown.
Result<ClassifierHead> read_classifier_head(const JsonFile& file);

// Makes scores of one text's logits in place.
void activate(Activation activation, std::span<float> logits);

}  // namespace sluice
