// SPDX-License-Identifier: Apache-2.0
#pragma once
// In what numbers a model in this process computes, as the user asks for it.

namespace sluice {

// kAuto is bfloat16 where the CPU has instructions for it and a probe at load shows the same
// vectors, else float32.
enum class PrecisionChoice { kAuto, kF32, kBf16 };

}  // namespace sluice
