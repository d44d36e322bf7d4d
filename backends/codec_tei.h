// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the codecs of Text Embeddings Inference have in common.

#include <span>
#include <string_view>
#include <vector>

#include "backends/codec_common.h"
#include "backends/dialect.h"
#include "base/result.h"

namespace sluice::tei {

// Members of a request that are parameters, of vectors and of scores.
inline constexpr codec::Field kVectorFields[] = {{"normalize", codec::Kind::kBool},
                                                 {"truncate", codec::Kind::kBool},
                                                 {"truncation_direction", codec::Kind::kSide},
                                                 {"prompt_name", codec::Kind::kString},
                                                 {"dimensions", codec::Kind::kPositive}};
inline constexpr codec::Field kScoreFields[] = {{"raw_scores", codec::Kind::kBool},
                                                {"truncate", codec::Kind::kBool},
                                                {"truncation_direction", codec::Kind::kSide}};

// What read_call() returns once all outputs are in place: tokens, where the answer's header tells
// how many there were, are shared out.
Result<std::vector<Outcome>> outcomes_of(std::vector<Output> outputs, std::span<const CallRow> rows,
                                         const CallAnswer& answer);

}  // namespace sluice::tei
