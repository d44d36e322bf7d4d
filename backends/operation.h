// SPDX-License-Identifier: Apache-2.0
#pragma once
// What clients ask of models, apart from how they spell it. A codec reads its dialect's spelling
// into a Call of an operation and writes answers from its outputs, so that any dialect may meet any
// other one, or an engine, over the same operation.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "batcher/row.h"

namespace sluice {

// For each operation: what Row::wire holds, which parameters it has (CallKey::params: name → raw
// JSON value), and what Output::bytes are.
//   kEmbed     a JSON string, or a JSON array of token ids. Parameters: dimensions, normalize
//   (bool,
//              default true), truncate (bool), truncation_direction, prompt_name. Output: kJson, an
//              array of numbers or a base64 string of float32; or kFloats.
//   kSparse    as kEmbed. Output: kJson, an array of {"index","value"}.
//   kRerank    one document: a JSON string, or what the dialect takes as one (an object with
//              "text"). Parameters: query (JSON string), raw_scores (bool, default false: scores in
//              [0, 1] where the model's head is a sigmoid), truncate. Output: kJson, a number; or
//              kFloats, one number.
//   kClassify  a JSON string, or an array of two strings (a pair). Parameters: raw_scores,
//              truncate. Output: kJson, an array of {"label","score"}, highest first; or kFloats,
//              one number per label of the model.
//   kPredict   any JSON value. Output: kJson, any value.
//   kInfer     one index along dimension 0 of all inputs; see dialect_oip.h. Output: kBytes.
enum class Operation : uint8_t { kEmbed, kSparse, kRerank, kClassify, kPredict, kInfer };

// "embed", "sparse", "rerank", "classify", "predict", "infer": in messages, metrics and settings.
std::string_view to_text(Operation operation);

// Everything that requests must share to share a call, and all that a call is written from beside
// its rows: what is not in here cannot reach the upstream, and so cannot leak from one caller to
// another. Its encoding is Request::key.
struct CallKey {
  Operation operation = Operation::kEmbed;
  std::string codec;   // of the client, if its wire rows or parameters suit no other; else empty
  std::string target;  // path and query as the client sent them; upstreams of the same codec get it
  std::string model;   // as the client named it; may be empty where the dialect needs none
  std::vector<std::pair<std::string, std::string>> params;   // name → raw JSON, sorted by name
  std::vector<std::pair<std::string, std::string>> headers;  // forwarded to upstreams, in order

  // The raw JSON of a parameter, or nothing.
  std::optional<std::string_view> param(std::string_view name) const;

  // One text for equal keys, different texts for different ones (each part with its length).
  std::string encode() const;
  // The key that encode() made `text` from. kInternal for any other text.
  static Result<CallKey> decode(std::string_view text);
};

}  // namespace sluice
