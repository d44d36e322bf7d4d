// SPDX-License-Identifier: Apache-2.0
#pragma once
// EmbeddedModel: what the gateway knows of a model that runs in this process. It turns the inputs
// of a request into rows its engine can run, so that token budgets and usage are exact before
// anything is queued. Immutable after construction; shared by all threads.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/dialect_openai.h"
#include "backends/tokenizer.h"
#include "base/result.h"
#include "batcher/row.h"

namespace sluice {

// What to do with an input that is longer than the model takes.
enum class OnTooLong { kTruncate, kError };

// A request's inputs, ready for the engine.
struct PreparedRows {
  std::vector<Row> rows;       // one per input, in order; all payloads share one Chunk
  uint64_t prompt_tokens = 0;  // what the model will see: special tokens included, after truncation
  uint32_t inputs_truncated = 0;
};

class EmbeddedModel {
 public:
  virtual ~EmbeddedModel() = default;
  // kInvalid, param "input", names the input at fault (a token id out of range, a text that is too
  // long where that is an error).
  virtual Result<PreparedRows> prepare(std::span<const openai::Input> inputs) const = 0;
  // Numbers in an output vector.
  virtual uint32_t width() const = 0;
  // Why vectors may not be cut to `dimensions` numbers; nothing if they may.
  virtual std::optional<Error> check_dimensions(uint32_t dimensions) const = 0;
};

// The echo engine's inputs: a row is the text's bytes (for token arrays the ids as 4-byte
// little-endian integers), usage is the number of bytes, and token budgets do not apply.
class EmbeddedEcho final : public EmbeddedModel {
 public:
  Result<PreparedRows> prepare(std::span<const openai::Input> inputs) const override;
  uint32_t width() const override;
  std::optional<Error> check_dimensions(uint32_t dimensions) const override;
};

// What a BERT encoder's folder says that matters before the engine.
struct EmbeddedBertOptions {
  std::string name;         // for messages
  uint32_t width = 0;       // hidden size
  uint32_t tokens_max = 0;  // of one input, special tokens included
  OnTooLong on_too_long = OnTooLong::kTruncate;
  // Sizes that vectors may be cut to: "matryoshka_dimensions" of config.json; any size up to width
  // if dimensions_any.
  std::vector<uint32_t> dimensions;
  bool dimensions_any = false;
};

// Texts become WordPiece ids. Token arrays are taken as ids of the model's vocabulary; they get
// [CLS] and [SEP] around them unless they have them.
class EmbeddedBert final : public EmbeddedModel {
 public:
  EmbeddedBert(EmbeddedBertOptions options, std::unique_ptr<const Tokenizer> tokenizer);
  Result<PreparedRows> prepare(std::span<const openai::Input> inputs) const override;
  uint32_t width() const override { return options_.width; }
  std::optional<Error> check_dimensions(uint32_t dimensions) const override;

 private:
  // Appends the ids of one input to `ids` and says whether it was cut.
  Result<bool> append_ids(const openai::Input& input, size_t index,
                          std::vector<int32_t>& ids) const;
  Result<bool> append_token_array(JsonView array, size_t index, std::vector<int32_t>& ids) const;

  const EmbeddedBertOptions options_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
};

}  // namespace sluice
