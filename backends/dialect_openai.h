// SPDX-License-Identifier: Apache-2.0
#pragma once
// The OpenAI dialect of embeddings: request bodies read, response and error bodies written, as
// platform.openai.com's API reference gives them. Pure; knows neither HTTP nor models.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dialect.h"
#include "base/json.h"
#include "base/result.h"

namespace sluice {

// "openai".
const Dialect& openai_dialect();

namespace openai {

// "openai.embeddings": POST /v1/embeddings, and POST /embeddings where a server listens at the root
// of its URL and a model need not be named. What is asked for is float or base64 if all callers of
// a call want that; to others the vectors are converted. Vectors that an engine gave are cut to
// Asked::Shape::dimensions.
const Codec& embeddings_codec();

// More inputs than this in one request are refused, as OpenAI does.
inline constexpr size_t kInputsMax = 2048;

// One thing to embed: a JSON string or an array of token ids, inside the request's body.
struct Input {
  // What was given: text to tokenise, or ids.
  enum class Kind { kText, kTokens };
  Kind kind = Kind::kText;
  JsonView json;  // points into the body
};

// The body of POST /v1/embeddings. Lives no longer than the body it was read from.
struct EmbeddingsRequest {
  std::string model;
  std::vector<Input> inputs;  // 1 … kInputsMax
  bool base64 = false;        // "encoding_format": "base64"; else "float"
  std::optional<uint32_t> dimensions;
};

// Reads a body. kInvalid names the field at fault in Error::param; a field that OpenAI does not
// know is refused, since ignoring it could change what the caller gets.
Result<EmbeddingsRequest> read_embeddings(const Slice& body);

// What an embeddings response is written from.
struct EmbeddingsResponse {
  std::string_view model;
  bool base64 = false;
  std::span<const Slice> vectors;  // float32 little-endian, one per input in order
  // Keeps this many leading numbers of each vector and scales the rest to length 1.
  std::optional<uint32_t> dimensions;
  uint64_t prompt_tokens = 0;
};

// The body of a 200 answer to POST /v1/embeddings.
std::string write_embeddings(const EmbeddingsResponse& response);

// An error body: {"error":{"message","type","param","code"}}; all four are always there.
std::string write_error(const Error& error);

// The bodies of GET /v1/models and GET /v1/models/{id}. `created` is in seconds since 1970.
std::string write_models(std::span<const std::string> ids, int64_t created);
std::string write_model(std::string_view id, int64_t created);

}  // namespace openai
}  // namespace sluice
