// SPDX-License-Identifier: Apache-2.0
#pragma once
// The parameters of an operation, as a model in this process understands them.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/classifier_head.h"
#include "backends/operation.h"
#include "base/chunk.h"
#include "base/json.h"
#include "base/result.h"
#include "batcher/row.h"

namespace sluice {

// CallKey::params, read. What is not given, or null, is empty.
struct ModelParameters {
  std::optional<int64_t> dimensions;
  std::optional<bool> normalize;
  std::optional<bool> truncate;
  bool cut_start = false;  // truncation_direction is "left" ("right" is usual), in any case
  std::optional<std::string> prompt_name;
  std::string query;
  bool raw_scores = false;
};

// Reads the parameters of `key`. kInvalid, the name in param, for a value of the wrong type, for
// one that key.operation does not have, and for a kRerank without a query.
Result<ModelParameters> read_model_parameters(const CallKey& key);

// How messages name item `index` of a request: "'input[3]'", "'documents[3]'" for kRerank.
std::string input_name(Operation operation, size_t index);
// kInvalid for item `index` of a request: its name, then `what`.
Error bad_input(Operation operation, size_t index, const std::string& what);
// The text of a document of kRerank: a string, or the "text" of an object; nothing else.
std::optional<std::string> document_text(JsonView document);
// The two strings of a pair; empty if it is something else.
std::vector<std::string> pair_texts(JsonView pair);

// EmbeddedModel::finish() for a model whose engine gives `width` numbers, of which `activation`
// makes scores; vectors are scaled to length one if `normalize`.
Result<std::vector<Output>> finish_outputs(std::span<const Slice> outputs, size_t width,
                                           Activation activation, bool normalize);

}  // namespace sluice
