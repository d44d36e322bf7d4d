// SPDX-License-Identifier: Apache-2.0
#include "backends/embedded_model.h"

#include <algorithm>
#include <cstring>

#include "backends/engine_echo.h"

namespace sluice {
namespace {

Error bad_input(size_t index, const std::string& what) {
  return Error{.code = Code::kInvalid,
               .message = "'input[" + std::to_string(index) + "]' " + what,
               .param = "input"};
}

// One Chunk with all ids of a request; each row is a slice of it.
std::vector<Row> slice_rows(const std::vector<int32_t>& ids, const std::vector<size_t>& ends) {
  const ChunkRef chunk =
      ChunkRef::copy_of({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
  std::vector<Row> rows;
  rows.reserve(ends.size());
  size_t start = 0;
  for (const size_t end : ends) {
    rows.push_back(
        {.payload = Slice(chunk, start * sizeof(int32_t), (end - start) * sizeof(int32_t)),
         .tokens = static_cast<uint32_t>(end - start)});
    start = end;
  }
  return rows;
}

}  // namespace

bool EmbeddedModel::supports(Operation) const { return false; }

Result<Prepared> EmbeddedModel::prepare(const CallKey&, std::span<Row>) const {
  return Error{.code = Code::kInvalid,
               .message = "The model does not support this operation.",
               .param = "model"};
}

Result<std::vector<Output>> EmbeddedModel::finish(const CallKey&,
                                                  std::span<const Slice> outputs) const {
  return std::vector<Output>(outputs.begin(), outputs.end());
}

Result<PreparedRows> EmbeddedEcho::prepare(std::span<const openai::Input> inputs) const {
  PreparedRows prepared;
  prepared.rows.reserve(inputs.size());
  for (size_t index = 0; index < inputs.size(); ++index) {
    std::string bytes;
    std::optional<Error> error;
    if (inputs[index].kind == openai::Input::Kind::kText) {
      bytes = inputs[index].json.text();
    } else {
      inputs[index].json.for_each_item([&](JsonView item) {
        const std::optional<int64_t> id = item.integer();
        if (!id || *id < 0 || *id > INT32_MAX) {
          error = bad_input(index, "holds a token id that is not an integer from 0 to 2147483647.");
          return false;
        }
        const auto narrow = static_cast<int32_t>(*id);
        bytes.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
        return true;
      });
    }
    if (error) return std::move(*error);
    prepared.prompt_tokens += bytes.size();
    prepared.rows.push_back({.payload = Slice::copy_of(bytes), .tokens = 0});
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

EmbeddedBert::EmbeddedBert(EmbeddedBertOptions options, std::unique_ptr<const Tokenizer> tokenizer)
    : options_(std::move(options)), tokenizer_(std::move(tokenizer)) {}

Result<PreparedRows> EmbeddedBert::prepare(std::span<const openai::Input> inputs) const {
  PreparedRows prepared;
  std::vector<int32_t> ids;
  std::vector<size_t> ends;
  ends.reserve(inputs.size());
  for (size_t index = 0; index < inputs.size(); ++index) {
    Result<bool> truncated = append_ids(inputs[index], index, ids);
    if (!truncated.ok()) return truncated.error();
    if (truncated.value() && options_.on_too_long == OnTooLong::kError)
      return bad_input(index, "is longer than the " + std::to_string(options_.tokens_max) +
                                  " tokens that the model '" + options_.name + "' takes.");
    prepared.inputs_truncated += truncated.value() ? 1 : 0;
    ends.push_back(ids.size());
  }
  prepared.prompt_tokens = ids.size();
  prepared.rows = slice_rows(ids, ends);
  return prepared;
}

Result<bool> EmbeddedBert::append_ids(const openai::Input& input, size_t index,
                                      std::vector<int32_t>& ids) const {
  if (input.kind == openai::Input::Kind::kTokens) return append_token_array(input.json, index, ids);
  return tokenizer_->encode(input.json.text(), ids);
}

Result<bool> EmbeddedBert::append_token_array(JsonView array, size_t index,
                                              std::vector<int32_t>& ids) const {
  std::vector<int32_t> own;
  std::optional<Error> error;
  array.for_each_item([&](JsonView item) {
    const std::optional<int64_t> id = item.integer();
    if (!id || *id < 0 || *id >= tokenizer_->vocabulary_size()) {
      error = bad_input(index, "holds the token id " + std::string(item.raw().substr(0, 30)) +
                                   ", which the model's vocabulary of " +
                                   std::to_string(tokenizer_->vocabulary_size()) + " has not.");
      return false;
    }
    own.push_back(static_cast<int32_t>(*id));
    return true;
  });
  if (error) return std::move(*error);
  const bool framed =
      own.size() >= 2 && own.front() == tokenizer_->cls() && own.back() == tokenizer_->sep();
  const std::span<const int32_t> content =
      framed ? std::span<const int32_t>(own).subspan(1, own.size() - 2) : own;
  const size_t room = options_.tokens_max - 2;
  const size_t kept = std::min(content.size(), room);
  ids.push_back(tokenizer_->cls());
  ids.insert(ids.end(), content.begin(), content.begin() + static_cast<ptrdiff_t>(kept));
  ids.push_back(tokenizer_->sep());
  return content.size() > room;
}

std::optional<Error> EmbeddedBert::check_dimensions(uint32_t dimensions) const {
  if (dimensions == options_.width) return std::nullopt;
  Error error{.code = Code::kInvalid, .message = {}, .param = "dimensions"};
  const std::string width = std::to_string(options_.width);
  if (dimensions > options_.width) {
    error.message =
        "'dimensions' must be at most " + width + " for the model '" + options_.name + "'.";
    return error;
  }
  if (options_.dimensions_any ||
      std::ranges::find(options_.dimensions, dimensions) != options_.dimensions.end())
    return std::nullopt;
  error.message = "The model '" + options_.name +
                  "' was not trained for shorter vectors: " + "'dimensions' must be " + width;
  for (const uint32_t size : options_.dimensions) error.message += " or " + std::to_string(size);
  error.message += '.';
  return error;
}

}  // namespace sluice
