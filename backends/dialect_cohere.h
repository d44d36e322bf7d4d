// SPDX-License-Identifier: Apache-2.0
#pragma once
// The dialect of Cohere's rerank, versions 1 and 2, as Jina and Infinity speak it too, and of
// Infinity's classify (its openapi.json, version 0.0.77).

#include "backends/dialect.h"

namespace sluice {

// "cohere".
const Dialect& cohere_dialect();

namespace cohere {

// "cohere.rerank": POST /v1/rerank, /v2/rerank and /rerank. Endpoints are asked for all scores and
// no documents: sorting, top_n and return_documents are done per caller.
const Codec& rerank_codec();
// "cohere.classify": POST /classify, a list of texts.
const Codec& classify_codec();

}  // namespace cohere
}  // namespace sluice
