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
#include <string_view>
#include <vector>

#include "backends/classifier_head.h"
#include "backends/dialect_openai.h"
#include "backends/model_folder.h"
#include "backends/operation.h"
#include "backends/prompts.h"
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
  virtual bool supports(Operation operation) const = 0;
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
  virtual Result<Prepared> prepare(const CallKey& key, std::span<Row> rows) const = 0;
  // Makes outputs of the operation from what an engine gave for rows with `key`, one for one:
  // kRerank a score and kClassify a score per label, through the model's sigmoid or softmax unless
  // raw_scores; kEmbed the vector, scaled to length one if `normalize` is given as true and the
  // model's own are not. kInternal if an output is not of the size the model gives. Only for
  // outputs of engines: an upstream has done it all. Any thread.
  virtual Result<std::vector<Output>> finish(const CallKey& key,
                                             std::span<const Slice> outputs) const = 0;
  // Names of the classes of kClassify, in the order of the scores; empty if it is not supported.
  virtual std::span<const std::string> labels() const = 0;

  // kInvalid, param "input", names the input at fault (a token id out of range, a text that is too
  // long where that is an error).
  virtual Result<PreparedRows> prepare(std::span<const openai::Input> inputs) const = 0;
  // Numbers in an engine's output: of a vector, or the labels of a classifier.
  virtual uint32_t width() const = 0;
  // Why vectors may not be cut to `dimensions` numbers; nothing if they may.
  virtual std::optional<Error> check_dimensions(uint32_t dimensions) const = 0;
};

// What the echo engine takes: a row is the text's bytes (for token arrays the ids as 4-byte
// little-endian integers; for a pair, and for a query with a document, the first text, a zero byte
// and the second), usage is the number of bytes, token budgets do not apply and nothing is too
// long. It answers every operation from the eight numbers e0 … e7 of echo_vector() of a row:
// kEmbed with them; kRerank with the raw score 16 * e0 - 8, or its sigmoid; kClassify with two
// labels of the raw scores 16 * e0 - 8 and 16 * e1 - 8, or their softmax.
class EmbeddedEcho final : public EmbeddedModel {
 public:
  EmbeddedEcho();
  bool supports(Operation operation) const override;
  Result<Prepared> prepare(const CallKey& key, std::span<Row> rows) const override;
  Result<std::vector<Output>> finish(const CallKey& key,
                                     std::span<const Slice> outputs) const override;
  std::span<const std::string> labels() const override { return labels_; }
  Result<PreparedRows> prepare(std::span<const openai::Input> inputs) const override;
  uint32_t width() const override;
  std::optional<Error> check_dimensions(uint32_t dimensions) const override;

 private:
  const std::vector<std::string> labels_;
};

// What a BERT model's folder says that matters before the engine and behind it.
struct EmbeddedBertOptions {
  std::string name;         // for messages
  uint32_t width = 0;       // of an output: hidden size, or number of labels
  uint32_t tokens_max = 0;  // of one input, special tokens included
  OnTooLong on_too_long = OnTooLong::kTruncate;
  // Sizes that vectors may be cut to: "matryoshka_dimensions" of config.json; any size up to width
  // if dimensions_any.
  std::vector<uint32_t> dimensions;
  bool dimensions_any = false;
  bool normalize = true;     // the engine's vectors are of length one
  bool segments = true;      // the model knows two, so that pairs make sense
  Prompts prompts = {};      // of an encoder
  ClassifierHead head = {};  // with labels: a classifier

  // Those of `folder`.
  static EmbeddedBertOptions of(const ModelFolder& folder, std::string name, OnTooLong on_too_long);
};

// Texts become WordPiece ids. Token arrays are taken as ids of the model's vocabulary; they get
// [CLS] and [SEP] around them unless they have them.
class EmbeddedBert final : public EmbeddedModel {
 public:
  EmbeddedBert(EmbeddedBertOptions options, std::unique_ptr<const Tokenizer> tokenizer);
  bool supports(Operation operation) const override;
  Result<Prepared> prepare(const CallKey& key, std::span<Row> rows) const override;
  Result<std::vector<Output>> finish(const CallKey& key,
                                     std::span<const Slice> outputs) const override;
  std::span<const std::string> labels() const override { return options_.head.labels; }
  Result<PreparedRows> prepare(std::span<const openai::Input> inputs) const override;
  uint32_t width() const override { return options_.width; }
  std::optional<Error> check_dimensions(uint32_t dimensions) const override;

 private:
  // How the rows of one request are to be made.
  struct Plan {
    Operation operation = Operation::kEmbed;
    Cut cut = Cut::kEnd;
    bool asked_uncut = false;  // the request itself says truncate=false
    bool prompt_named = false;
    std::string_view prompt;
    std::vector<int32_t> query;  // the ids of kRerank's
  };
  // The rows' tokens, one after the other.
  struct Tokens {
    std::vector<int32_t> all;
    std::vector<size_t> ends;
    uint32_t truncated = 0;
  };

  Error unsupported(Operation operation) const;
  bool takes_pairs() const { return options_.segments && tokenizer_->takes_pairs(); }
  Result<Plan> plan(const CallKey& key) const;
  Result<std::string_view> prompt(const std::optional<std::string>& name) const;
  // The tokens of all inputs, which are as the operation has them.
  Result<Tokens> tokenize(const Plan& plan, std::span<const JsonView> inputs) const;
  // Appends the tokens of one input to `tokens` and says whether it was cut.
  Result<bool> append(const Plan& plan, JsonView input, size_t index,
                      std::vector<int32_t>& tokens) const;
  Result<bool> append_pair(const Plan& plan, JsonView pair, size_t index,
                           std::vector<int32_t>& tokens) const;
  Result<bool> append_token_array(const Plan& plan, JsonView array, size_t index,
                                  std::vector<int32_t>& tokens) const;

  const EmbeddedBertOptions options_;
  const std::unique_ptr<const Tokenizer> tokenizer_;
};

}  // namespace sluice
