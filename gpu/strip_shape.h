// SPDX-License-Identifier: Apache-2.0
#pragma once
// The sizes of the strip kernels, gemm_{bias,gelu}_strip, for both sides.

#include <cstdint>

namespace sluice {

inline constexpr int kStripTile = 128;  // rows, and columns of a tile
inline constexpr int kStripTeams = 2;
inline constexpr int kStripThreads = kStripTeams * 256;
inline constexpr int kStripStages = 3;  // of each team
inline constexpr int kStripSlabBytes = kStripTile * 64 * 2;
inline constexpr int kStripPitch = 32 * 2 + 16;  // of 32 results on their way out
inline constexpr int kStripStagingBytes = kStripThreads / 32 * 16 * kStripPitch;
inline constexpr uint32_t kStripInputsMax = 384;
inline constexpr uint32_t kStripOutputsMax = 2048;

// Dynamic shared memory: the rows, the weights on their way, results on theirs, the bias.
constexpr uint32_t strip_shared_bytes(uint32_t inputs, uint32_t outputs) {
  return (inputs / 64 + kStripTeams * kStripStages) * kStripSlabBytes + kStripStagingBytes +
         outputs * 4;
}

}  // namespace sluice
