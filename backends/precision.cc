// SPDX-License-Identifier: Apache-2.0
#include "backends/precision.h"

#include <string>

namespace sluice {

Result<PrecisionChoice> parse_precision(std::string_view text) {
  if (text == "auto") return PrecisionChoice::kAuto;
  if (text == "f32") return PrecisionChoice::kF32;
  if (text == "bf16") return PrecisionChoice::kBf16;
  return Error{Code::kInvalid, "precision '" + std::string(text) + "' must be auto, f32 or bf16"};
}

}  // namespace sluice
