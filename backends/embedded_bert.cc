// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "backends/embedded_model.h"
#include "backends/model_parameters.h"

namespace sluice {
namespace {

Error wrong(const std::string& param, const std::string& message) {
  return Error{.code = Code::kInvalid, .message = message, .param = param};
}

const char* verb(Operation operation) {
  switch (operation) {
    case Operation::kEmbed:
      return "make embeddings";
    case Operation::kSparse:
      return "make sparse embeddings";
    case Operation::kRerank:
      return "rerank";
    case Operation::kClassify:
      return "classify";
    default:
      return "do this";
  }
}

}  // namespace

EmbeddedBertOptions EmbeddedBertOptions::of(const ModelFolder& folder, std::string name,
                                            OnTooLong on_too_long) {
  const BertConfig& config = folder.config;
  return {.name = std::move(name),
          .width = config.labels != 0 ? config.labels : config.hidden,
          .tokens_max = folder.tokens_max,
          .on_too_long = on_too_long,
          .dimensions = folder.cut.sizes,
          .dimensions_any = folder.cut.any,
          .normalize = folder.normalize,
          .segments = config.types > 1,
          .prompts = folder.prompts,
          .head = folder.head};
}

EmbeddedBert::EmbeddedBert(EmbeddedBertOptions options, std::unique_ptr<const Tokenizer> tokenizer)
    : options_(std::move(options)), tokenizer_(std::move(tokenizer)) {}

bool EmbeddedBert::supports(Operation operation) const {
  const size_t labels = options_.head.labels.size();
  if (operation == Operation::kEmbed) return labels == 0;
  if (operation == Operation::kClassify) return labels != 0;
  return operation == Operation::kRerank && labels == 1 && takes_pairs();
}

Error EmbeddedBert::unsupported(Operation operation) const {
  const size_t labels = options_.head.labels.size();
  std::string why = labels == 0 ? "makes embeddings" : "classifies";
  if (operation == Operation::kRerank && labels > 1)
    why = "has " + std::to_string(labels) + " labels where a cross-encoder has one";
  if (operation == Operation::kRerank && labels == 1) why = "has no template for pairs of texts";
  return wrong("model",
               "The model '" + options_.name + "' " + why + "; it cannot " + verb(operation) + ".");
}

Result<Prepared> EmbeddedBert::prepare(const CallKey& key, std::span<Row> rows) const {
  const Result<Plan> how = plan(key);
  if (!how.ok()) return how.error();
  std::vector<JsonView> inputs;
  inputs.reserve(rows.size());
  for (const Row& row : rows) inputs.emplace_back(row.wire.view());
  const Result<Tokens> tokens = tokenize(how.value(), inputs);
  if (!tokens.ok()) return tokens.error();
  const std::vector<int32_t>& all = tokens.value().all;
  const ChunkRef chunk =
      ChunkRef::copy_of({reinterpret_cast<const char*>(all.data()), all.size() * sizeof(int32_t)});
  size_t start = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t count = tokens.value().ends[i] - start;
    rows[i].payload = Slice(chunk, start * sizeof(int32_t), count * sizeof(int32_t));
    rows[i].tokens = static_cast<uint32_t>(count);
    start += count;
  }
  return Prepared{all.size(), tokens.value().truncated};
}

Result<PreparedRows> EmbeddedBert::prepare(std::span<const openai::Input> inputs) const {
  CallKey key;
  PreparedRows prepared;
  prepared.rows.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    prepared.rows[i].wire = Slice::copy_of(inputs[i].json.raw());
  const Result<Prepared> done = prepare(key, prepared.rows);
  if (!done.ok()) return done.error();
  for (Row& row : prepared.rows) row.wire = {};
  prepared.prompt_tokens = done.value().tokens;
  prepared.inputs_truncated = done.value().truncated;
  return prepared;
}

Result<EmbeddedBert::Plan> EmbeddedBert::plan(const CallKey& key) const {
  if (!supports(key.operation)) return unsupported(key.operation);
  const Result<ModelParameters> read = read_model_parameters(key);
  if (!read.ok()) return read.error();
  const ModelParameters& asked = read.value();
  if (asked.dimensions) {
    const auto size = static_cast<uint32_t>(std::min<int64_t>(*asked.dimensions, UINT32_MAX));
    if (auto error = check_dimensions(size)) return std::move(*error);
  }
  if (options_.normalize && !asked.normalize.value_or(true))
    return wrong("normalize", "The model '" + options_.name +
                                  "' makes vectors of length one; 'normalize' cannot be false.");
  Plan plan;
  plan.operation = key.operation;
  const bool cut = asked.truncate.value_or(options_.on_too_long == OnTooLong::kTruncate);
  plan.cut = !cut ? Cut::kUncut : asked.cut_start ? Cut::kStart : Cut::kEnd;
  plan.asked_uncut = asked.truncate && !*asked.truncate;
  plan.prompt_named = asked.prompt_name.has_value();
  const Result<std::string_view> text = prompt(asked.prompt_name);
  if (!text.ok()) return text.error();
  plan.prompt = text.value();
  if (key.operation == Operation::kRerank)
    tokenizer_->append_pieces(asked.query, SIZE_MAX, plan.query);
  return plan;
}

// What stands before the texts; a part of the options.
Result<std::string_view> EmbeddedBert::prompt(const std::optional<std::string>& name) const {
  const Prompts& prompts = options_.prompts;
  if (!name) return std::string_view(prompts.usual);
  std::string known;
  for (const auto& [its_name, text] : prompts.by_name) {
    if (its_name == *name) return std::string_view(text);
    known += (known.empty() ? "'" : ", '") + its_name + "'";
  }
  if (known.empty())
    return wrong("prompt_name", "The model '" + options_.name + "' has no prompts.");
  return wrong("prompt_name",
               "The prompts of the model '" + options_.name + "' are " + known + ".");
}

Result<EmbeddedBert::Tokens> EmbeddedBert::tokenize(const Plan& plan,
                                                    std::span<const JsonView> inputs) const {
  Tokens tokens;
  tokens.ends.reserve(inputs.size());
  size_t start = 0;
  for (size_t index = 0; index < inputs.size(); ++index) {
    const Result<bool> cut = append(plan, inputs[index], index, tokens.all);
    if (!cut.ok()) return cut.error();
    const size_t count = tokens.all.size() - start;
    if (count > options_.tokens_max) {
      Error error =
          bad_input(plan.operation, index,
                    "is " + std::to_string(count) + " tokens long; the model '" + options_.name +
                        "' takes " + std::to_string(options_.tokens_max) + ".");
      if (plan.asked_uncut) error.code = Code::kTooLarge;
      return error;
    }
    tokens.truncated += cut.value() ? 1 : 0;
    start = tokens.all.size();
    tokens.ends.push_back(start);
  }
  return tokens;
}

Result<bool> EmbeddedBert::append(const Plan& plan, JsonView input, size_t index,
                                  std::vector<int32_t>& tokens) const {
  if (plan.operation == Operation::kRerank) {
    const std::optional<std::string> text = document_text(input);
    if (text) return tokenizer_->encode_pair(plan.query, *text, plan.cut, tokens);
    return bad_input(plan.operation, index, "must be a string, or an object with a 'text'.");
  }
  if (input.is(JsonType::kString)) {
    if (plan.prompt.empty()) return tokenizer_->encode(input.text(), plan.cut, tokens);
    return tokenizer_->encode(std::string(plan.prompt) + input.text(), plan.cut, tokens);
  }
  if (plan.operation == Operation::kClassify) return append_pair(plan, input, index, tokens);
  return append_token_array(plan, input, index, tokens);
}

Result<bool> EmbeddedBert::append_pair(const Plan& plan, JsonView pair, size_t index,
                                       std::vector<int32_t>& tokens) const {
  const std::vector<std::string> texts = pair_texts(pair);
  if (texts.empty())
    return bad_input(plan.operation, index, "must be a string or an array of two strings.");
  if (!takes_pairs())
    return bad_input(plan.operation, index,
                     "is a pair, which the model '" + options_.name + "' does not take.");
  std::vector<int32_t> first;
  tokenizer_->append_pieces(texts[0], SIZE_MAX, first);
  return tokenizer_->encode_pair(first, texts[1], plan.cut, tokens);
}

Result<bool> EmbeddedBert::append_token_array(const Plan& plan, JsonView array, size_t index,
                                              std::vector<int32_t>& tokens) const {
  if (!array.is(JsonType::kArray))
    return bad_input(plan.operation, index, "must be a string or an array of token ids.");
  if (plan.prompt_named)
    return wrong("prompt_name", "'prompt_name' cannot be given with token ids: a prompt is text.");
  std::vector<int32_t> own;
  std::optional<Error> error;
  array.for_each_item([&](JsonView item) {
    const std::optional<int64_t> id =
        item.is(JsonType::kNumber) ? item.integer() : std::optional<int64_t>();
    if (!id || *id < 0 || *id >= tokenizer_->vocabulary_size()) {
      error = bad_input(plan.operation, index,
                        "holds the token id " + std::string(item.raw().substr(0, 30)) +
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
  std::span<const int32_t> content(own);
  if (framed) content = content.subspan(1, content.size() - 2);
  const size_t room = options_.tokens_max - 2;
  const bool cut = plan.cut != Cut::kUncut && content.size() > room;
  if (cut) content = plan.cut == Cut::kStart ? content.last(room) : content.first(room);
  tokens.push_back(tokenizer_->cls());
  tokens.insert(tokens.end(), content.begin(), content.end());
  tokens.push_back(tokenizer_->sep());
  return cut;
}

Result<std::vector<Output>> EmbeddedBert::finish(const CallKey& key,
                                                 std::span<const Slice> outputs) const {
  const Result<ModelParameters> asked = read_model_parameters(key);
  if (!asked.ok()) return asked.error();
  const bool normalize = key.operation == Operation::kEmbed && !options_.normalize &&
                         asked.value().normalize.value_or(false);
  const Activation activation =
      asked.value().raw_scores ? Activation::kNone : options_.head.activation;
  return finish_outputs(outputs, options_.width, activation, normalize);
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
