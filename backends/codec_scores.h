// SPDX-License-Identifier: Apache-2.0
#pragma once
// Outputs of rerank and of classification: scores sorted, classes with their labels.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backends/codec_common.h"
#include "backends/dialect.h"
#include "backends/json_cursor.h"
#include "base/chunk.h"
#include "base/result.h"

namespace sluice::codec {

// A document's place among those of its request, and its score.
struct Ranked {
  size_t index = 0;
  double score = 0;
  std::string text;  // the score as JSON: as the upstream wrote it, or the shortest decimal
};

// The outputs of kRerank, highest score first, those of the same score as they were given.
// kUpstream if one is no number.
Result<std::vector<Ranked>> rank(std::span<const Output> outputs);
// Writes an output of kClassify as an array of objects with "score" and "label", highest first.
// kUpstream if it is none.
Result<Done> write_classes(BodyWriter& out, const Output& output,
                           std::span<const std::string> labels);
// Reads an array of objects which each have the number `number` and the other member, which is a
// string if `labelled` and else an integer from 0; gives it as it stands. Empty, and `at` has
// failed, if it is none.
Slice read_entries(JsonCursor& at, std::string_view number, std::string_view other, bool labelled);
// Reads an object with "index" and the number `member`, and puts that into the output of the index.
void read_scored(JsonCursor& at, std::string_view member, std::span<Output> outputs);

}  // namespace sluice::codec
