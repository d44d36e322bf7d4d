// SPDX-License-Identifier: Apache-2.0
#include "backends/model_parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>

namespace sluice {
namespace {

// How much of a caller's own name for something an error repeats.
constexpr size_t kNameShownMax = 100;

Error wrong(std::string_view name, const std::string& what) {
  return Error{.code = Code::kInvalid,
               .message = "'" + std::string(name) + "' " + what,
               .param = std::string(name)};
}

// In OpenAI's words, which its clients know.
Error unknown(std::string_view name) {
  const std::string start(name.substr(0, kNameShownMax));
  return Error{.code = Code::kInvalid,
               .message = "Unrecognized request argument supplied: " + start,
               .param = start};
}

// Reads one value into the field of its name; nothing if that went well.
std::optional<Error> read_flag(std::string_view name, JsonView value, std::optional<bool>& to) {
  if (!value.is(JsonType::kBool)) return wrong(name, "must be a boolean.");
  to = value.boolean();
  return std::nullopt;
}

std::optional<Error> read_direction(std::string_view name, JsonView value, bool& cut_start) {
  std::string side = value.is(JsonType::kString) ? value.text() : "";
  for (char& c : side) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (side != "left" && side != "right") return wrong(name, "must be 'left' or 'right'.");
  cut_start = side == "left";
  return std::nullopt;
}

std::optional<Error> read_one(std::string_view name, JsonView value, ModelParameters& to) {
  if (name == "normalize") return read_flag(name, value, to.normalize);
  if (name == "truncate") return read_flag(name, value, to.truncate);
  if (name == "truncation_direction") return read_direction(name, value, to.cut_start);
  if (name == "raw_scores") {
    std::optional<bool> raw;
    const std::optional<Error> error = read_flag(name, value, raw);
    to.raw_scores = raw.value_or(false);
    return error;
  }
  if (name == "dimensions") {
    to.dimensions = value.is(JsonType::kNumber) ? value.integer() : std::nullopt;
    if (!to.dimensions || *to.dimensions < 1) return wrong(name, "must be a positive integer.");
    return std::nullopt;
  }
  if (!value.is(JsonType::kString)) return wrong(name, "must be a string.");
  if (name == "query") {
    to.query = value.text();
  } else {
    to.prompt_name = value.text();
  }
  return std::nullopt;
}

bool has_parameter(Operation operation, std::string_view name) {
  if (name == "truncate" || name == "truncation_direction") return true;
  if (operation == Operation::kEmbed)
    return name == "dimensions" || name == "normalize" || name == "prompt_name";
  return name == "raw_scores" || (operation == Operation::kRerank && name == "query");
}

// As torch.nn.functional.normalize: a vector of zeros stays one.
void scale_to_one(std::span<float> vector) {
  double square = 0.0;
  for (const float x : vector) square += static_cast<double>(x) * static_cast<double>(x);
  const auto factor = static_cast<float>(1.0 / std::max(std::sqrt(square), 1e-12));
  for (float& x : vector) x *= factor;
}

}  // namespace

Result<ModelParameters> read_model_parameters(const CallKey& key) {
  ModelParameters parameters;
  bool has_query = false;
  for (const auto& [name, raw] : key.params) {
    if (!has_parameter(key.operation, name)) return unknown(name);
    const JsonView value(raw);
    if (value.is(JsonType::kNull)) continue;
    if (const std::optional<Error> error = read_one(name, value, parameters)) return *error;
    has_query = has_query || name == "query";
  }
  if (key.operation == Operation::kRerank && !has_query) return wrong("query", "is missing.");
  return parameters;
}

std::string input_name(Operation operation, size_t index) {
  return std::string(operation == Operation::kRerank ? "'documents[" : "'input[") +
         std::to_string(index) + "]'";
}

Error bad_input(Operation operation, size_t index, const std::string& what) {
  return Error{.code = Code::kInvalid,
               .message = input_name(operation, index) + " " + what,
               .param = operation == Operation::kRerank ? "documents" : "input"};
}

std::optional<std::string> document_text(JsonView document) {
  if (document.is(JsonType::kString)) return document.text();
  const std::optional<JsonView> text =
      document.is(JsonType::kObject) ? document.member("text") : std::nullopt;
  if (!text || !text->is(JsonType::kString)) return std::nullopt;
  return text->text();
}

std::vector<std::string> pair_texts(JsonView pair) {
  std::vector<std::string> texts;
  if (!pair.is(JsonType::kArray)) return texts;
  bool good = true;
  pair.for_each_item([&](JsonView item) {
    good = item.is(JsonType::kString) && texts.size() < 2;
    if (good) texts.push_back(item.text());
    return good;
  });
  if (!good || texts.size() != 2) texts.clear();
  return texts;
}

Result<std::vector<Output>> finish_outputs(std::span<const Slice> outputs, size_t width,
                                           Activation activation, bool normalize) {
  const size_t bytes = width * sizeof(float);
  for (const Slice& output : outputs) {
    if (output.size() == bytes) continue;
    return Error{.code = Code::kInternal,
                 .message = "The engine gave " + std::to_string(output.size()) +
                            " bytes for a row, not " + std::to_string(bytes) + "."};
  }
  std::vector<Output> finished;
  finished.reserve(outputs.size());
  if (activation == Activation::kNone && !normalize) {
    for (const Slice& output : outputs) finished.emplace_back(output);
    return finished;
  }
  std::vector<float> numbers(width);
  for (const Slice& output : outputs) {
    std::memcpy(numbers.data(), output.data(), bytes);
    if (normalize) scale_to_one(numbers);
    activate(activation, numbers);
    finished.emplace_back(Slice::copy_of({reinterpret_cast<const char*>(numbers.data()), bytes}));
  }
  return finished;
}

}  // namespace sluice
