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
#include "backends/operation.h"
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

// What prepare() learned of a request beside its rows' payloads.
struct Prepared {
  uint64_t tokens = 0;     // the model will see: special tokens included, after truncation
  uint32_t truncated = 0;  // how many rows were cut
};

class EmbeddedModel {
 public:
  virtual ~EmbeddedModel() = default;

  // Whether the model answers `operation`. An encoder embeds, a classifier classifies, and one with
  // a single label reranks as well.
  virtual bool supports(Operation operation) const;
  // Fills `payload` and `tokens` of each row from its `wire` (see backends/operation.h); payloads
  // share one Chunk. On failure the rows are as they were, and the error is
  // - kInvalid, param "model": the model does not support the operation;
  // - kInvalid, param the parameter's name: its value is wrong, or asks for what the model cannot
  //   do (dimensions, normalize, truncate, truncation_direction, prompt_name, raw_scores, query, or
  //   one it does not know);
  // - kInvalid, param "documents" for kRerank and "input" for the others: the row that the message
  //   names by its place from 0 is not what the operation takes, holds a token id that the
  //   vocabulary has not, or is too long and OnTooLong is kError;
  // - kTooLarge, the same params: a row is too long and the request itself says truncate=false; the
  //   message says how long it is. truncate=true wins over kError.
  // REQUIRES: `wire` and parameters are values of texts that parse_json() accepted. Any thread.
  virtual Result<Prepared> prepare(const CallKey& key, std::span<Row> rows) const;
  // Makes outputs of the operation from what an engine gave for rows with `key`, one for one:
  // kRerank a score and kClassify a score per label, through the model's sigmoid or softmax unless
  // raw_scores; kEmbed the vector, scaled to length one if `normalize` is given as true and the
  // model's own are not. kInternal if an output is not of the size the model gives. Only for
  // outputs of engines: an upstream has done it all. Any thread.
  virtual Result<std::vector<Output>> finish(const CallKey& key,
                                             std::span<const Slice> outputs) const;
  // Names of the classes of kClassify, in the order of the scores; empty if it is not supported.
  virtual std::span<const std::string> labels() const { return {}; }

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
  using EmbeddedModel::prepare;
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
  using EmbeddedModel::prepare;
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
