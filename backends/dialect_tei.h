// SPDX-License-Identifier: Apache-2.0
#pragma once
// The dialect of Hugging Face's Text Embeddings Inference (its openapi.json, version 1.9): /embed,
// /embed_sparse, /rerank and /predict, and OpenAI's embeddings, which it also speaks.

#include <cstdint>
#include <string>
#include <string_view>

#include "backends/dialect.h"

namespace sluice {

// "tei".
const Dialect& tei_dialect();

namespace tei {

// "tei.embed", "tei.embed_sparse", "tei.rerank", "tei.predict". No model is named in any of them.
const Codec& embed_codec();
const Codec& sparse_codec();
const Codec& rerank_codec();
const Codec& predict_codec();

// What GET /info tells of a server.
struct Info {
  std::string_view model;               // its name
  std::string_view type = "embedding";  // or "reranker", "classifier"
  std::string_view version = "";        // of the program
  uint32_t input_tokens_max = 512;
  uint32_t batch_tokens_max = 16384;
  uint32_t client_batch_items_max = 2048;  // of one request
  uint32_t requests_max = 10000;           // at a time
};
// The body of GET /info.
std::string write_info(const Info& info);
// The same, of a model of which no more than the name is known.
std::string write_info(std::string_view model);

}  // namespace tei
}  // namespace sluice
