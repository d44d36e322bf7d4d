// SPDX-License-Identifier: Apache-2.0
#pragma once
// Requests for inference of the Open Inference Protocol v2: what of them is the key, and whether
// their rows may be merged. dialect_oip.h says by which rules.

#include <string_view>

#include "backends/dialect.h"

namespace sluice::oip {

// Where such requests come in; the first capture is the model.
inline constexpr std::string_view kPaths[] = {"/v2/models/{}/infer",
                                              "/v2/models/{}/versions/{}/infer"};

// Codec::read_request() of the codec called `codec_name`. `json_only`: rows are to be JSON,
// whatever form they came in; kInvalid if they cannot be.
Result<Asked> read_request(const RequestHead& head, const Slice& body, std::string_view codec_name,
                           bool json_only);

}  // namespace sluice::oip
