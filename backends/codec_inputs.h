// SPDX-License-Identifier: Apache-2.0
#pragma once
// Inputs of embeddings as OpenAI and Text Embeddings Inference both spell them: a text, a list of
// texts, one flat array of token ids, or a list of such arrays.

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "base/chunk.h"
#include "base/error.h"
#include "base/json.h"
#include "batcher/row.h"

namespace sluice::codec {

// What a protocol takes as inputs.
struct InputRules {
  std::string_view field;  // as messages name it
  size_t items_max = 0;
  bool mixed = false;  // texts and token arrays may stand in one list
};

// Adds the inputs in `value` to `inputs`: each a string, or an array of integers. What is wrong, if
// anything is.
std::optional<Error> read_inputs(JsonView value, const InputRules& rules,
                                 std::vector<JsonView>& inputs);
// The items of the array `value` as rows whose wire forms are slices of `body`, if every item is a
// string, or, where `objects`, an object with a "text" that is one. `field` names it in messages.
std::optional<Error> read_texts(const Slice& body, JsonView value, std::string_view field,
                                size_t items_max, bool objects, std::vector<Row>& rows);

}  // namespace sluice::codec
