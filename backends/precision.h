// SPDX-License-Identifier: Apache-2.0
#pragma once
// In what numbers a model in this process computes, as the user asks for it.

#include <string_view>

#include "base/result.h"

namespace sluice {

// kAuto is bfloat16 where the CPU has instructions for it and a probe at load shows the same
// vectors, else float32.
enum class PrecisionChoice { kAuto, kF32, kBf16 };

// "auto", "f32" or "bf16"; kInvalid otherwise.
Result<PrecisionChoice> parse_precision(std::string_view text);

}  // namespace sluice
