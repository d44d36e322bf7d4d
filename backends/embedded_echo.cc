// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstring>

#include "backends/embedded_model.h"
#include "backends/engine_echo.h"
#include "backends/model_parameters.h"

namespace sluice {
namespace {

// The ids of a token array as bytes.
Result<std::string> token_bytes(JsonView array, size_t index) {
  std::string bytes;
  bool good = true;
  array.for_each_item([&](JsonView item) {
    const std::optional<int64_t> id =
        item.is(JsonType::kNumber) ? item.integer() : std::optional<int64_t>();
    good = id && *id >= 0 && *id <= INT32_MAX;
    if (!good) return false;
    const auto narrow = static_cast<int32_t>(*id);
    bytes.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
    return true;
  });
  if (good) return bytes;
  return bad_input(Operation::kEmbed, index,
                   "holds a token id that is not an integer from 0 to 2147483647.");
}

std::string joined(const std::string& first, const std::string& second) {
  return first + '\0' + second;
}

// The bytes the engine gets for one row.
Result<std::string> row_bytes(Operation operation, const std::string& query, JsonView wire,
                              size_t index) {
  if (operation == Operation::kRerank) {
    const std::optional<std::string> text = document_text(wire);
    if (text) return joined(query, *text);
    return bad_input(operation, index, "must be a string, or an object with a 'text'.");
  }
  if (wire.is(JsonType::kString)) return wire.text();
  if (operation == Operation::kEmbed) {
    if (wire.is(JsonType::kArray)) return token_bytes(wire, index);
    return bad_input(operation, index, "must be a string or an array of token ids.");
  }
  const std::vector<std::string> pair = pair_texts(wire);
  if (!pair.empty()) return joined(pair[0], pair[1]);
  return bad_input(operation, index, "must be a string or an array of two strings.");
}

}  // namespace

EmbeddedEcho::EmbeddedEcho() : labels_{"LABEL_0", "LABEL_1"} {}

bool EmbeddedEcho::supports(Operation operation) const {
  return operation == Operation::kEmbed || operation == Operation::kRerank ||
         operation == Operation::kClassify;
}

Result<Prepared> EmbeddedEcho::prepare(const CallKey& key, std::span<Row> rows) const {
  if (!supports(key.operation))
    return Error{.code = Code::kInvalid,
                 .message = "The model 'echo' embeds, reranks and classifies, and nothing else.",
                 .param = "model"};
  const Result<ModelParameters> parameters = read_model_parameters(key);
  if (!parameters.ok()) return parameters.error();
  if (parameters.value().prompt_name)
    return Error{.code = Code::kInvalid,
                 .message = "The model 'echo' has no prompts.",
                 .param = "prompt_name"};
  if (const auto dimensions = parameters.value().dimensions) {
    const auto size = static_cast<uint32_t>(std::min<int64_t>(*dimensions, UINT32_MAX));
    if (auto error = check_dimensions(size)) return std::move(*error);
  }
  std::string all;
  std::vector<size_t> ends;
  for (size_t index = 0; index < rows.size(); ++index) {
    const Result<std::string> bytes = row_bytes(key.operation, parameters.value().query,
                                                JsonView(rows[index].wire.view()), index);
    if (!bytes.ok()) return bytes.error();
    all += bytes.value();
    ends.push_back(all.size());
  }
  const ChunkRef chunk = ChunkRef::copy_of(all);
  size_t start = 0;
  for (size_t index = 0; index < rows.size(); ++index) {
    rows[index].payload = Slice(chunk, start, ends[index] - start);
    rows[index].tokens = 0;
    start = ends[index];
  }
  return Prepared{all.size(), 0};
}

Result<std::vector<Output>> EmbeddedEcho::finish(const CallKey& key,
                                                 std::span<const Slice> outputs) const {
  const Result<ModelParameters> parameters = read_model_parameters(key);
  if (!parameters.ok()) return parameters.error();
  const size_t width = EchoEngine::kWidth;
  const ModelParameters& asked = parameters.value();
  if (key.operation == Operation::kEmbed)
    return finish_outputs(outputs, width, Activation::kNone, asked.normalize.value_or(false));
  Result<std::vector<Output>> vectors = finish_outputs(outputs, width, Activation::kNone, false);
  if (!vectors.ok()) return vectors;
  const bool rerank = key.operation == Operation::kRerank;
  const size_t scores = rerank ? 1 : labels_.size();
  const Activation usual = rerank ? Activation::kSigmoid : Activation::kSoftmax;
  std::vector<Slice> logits;
  for (const Output& vector : vectors.value()) {
    std::array<float, EchoEngine::kWidth> numbers;
    std::memcpy(numbers.data(), vector.bytes.data(), sizeof numbers);
    for (float& x : numbers) x = 16.0F * x - 8.0F;
    logits.push_back(
        Slice::copy_of({reinterpret_cast<const char*>(numbers.data()), scores * sizeof(float)}));
  }
  return finish_outputs(logits, scores, asked.raw_scores ? Activation::kNone : usual, false);
}

Result<PreparedRows> EmbeddedEcho::prepare(std::span<const openai::Input> inputs) const {
  PreparedRows prepared;
  prepared.rows.reserve(inputs.size());
  for (size_t index = 0; index < inputs.size(); ++index) {
    const Result<std::string> bytes = row_bytes(Operation::kEmbed, {}, inputs[index].json, index);
    if (!bytes.ok()) return bytes.error();
    prepared.prompt_tokens += bytes.value().size();
    prepared.rows.push_back({.payload = Slice::copy_of(bytes.value()), .tokens = 0});
  }
  return prepared;
}

uint32_t EmbeddedEcho::width() const { return static_cast<uint32_t>(EchoEngine::kWidth); }

std::optional<Error> EmbeddedEcho::check_dimensions(uint32_t dimensions) const {
  if (dimensions <= EchoEngine::kWidth) return std::nullopt;
  return Error{.code = Code::kInvalid,
               .message = "'dimensions' must be at most " + std::to_string(EchoEngine::kWidth) +
                          " for the model 'echo'.",
               .param = "dimensions"};
}

}  // namespace sluice
