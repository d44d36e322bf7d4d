// SPDX-License-Identifier: Apache-2.0
#pragma once
// The shapes in which the product kernels exist. Few rows want small tiles, so that many
// multiprocessors work, and deep steps, so that few barriers stand between the loads; many rows
// want large tiles, so that each byte loaded is used often.

#include <cstddef>
#include <cstdint>

namespace sluice {

// One shape. A block computes `rows` x `columns` sums. Its warps form a box: `warps_m` share the
// rows, `warps_n` the columns, and `warps_k` the inputs (their sums are added up at the end).
struct GemmTile {
  uint32_t rows = 0;
  uint32_t columns = 0;
  uint32_t depth = 0;   // inputs of one step, in units of 64
  uint32_t stages = 0;  // steps in shared memory, in use or under way
  uint32_t warps_m = 0;
  uint32_t warps_n = 0;
  uint32_t warps_k = 0;

  constexpr uint32_t threads() const { return 32 * warps_m * warps_n * warps_k; }
  constexpr uint32_t stage_bytes() const { return (rows + columns) * 128 * depth; }
  // Statistics of the norm, from every warp column of at most 8 blocks of a cluster.
  constexpr uint32_t statistics_bytes() const { return 8 * warps_n * rows * 8; }
  // Dynamic shared memory, without and with a norm: the stages, bias, scale and shift, statistics.
  constexpr uint32_t shared_bytes(bool norm) const {
    return stages * stage_bytes() + 3 * columns * 4 + (norm ? statistics_bytes() : 0);
  }
  // The same with scale and shift of x.
  constexpr uint32_t normed_shared_bytes() const { return shared_bytes(false) + 2 * 384 * 4; }
};

// The tiles of kernels named gemm_{bias,gelu}_normed_RxC normalise their rows of x before they use
// them, so all inputs of those rows are in shared memory at once.
inline constexpr uint32_t kNormedInputsMax = 384;
#define SLUICE_NORMED_TILES(DO) DO(32, 32, 2, 4, 2, 1, 4)

// A cluster has at most this many blocks on every GPU that has clusters.
inline constexpr uint32_t kClusterMax = 8;

// The tiles of kernels named gemm_{bias,gelu,residual}_RxC.
#define SLUICE_GEMM_TILES(DO) \
  DO(32, 32, 2, 6, 2, 1, 4)   \
  DO(64, 64, 1, 3, 2, 2, 1)   \
  DO(128, 64, 1, 3, 4, 2, 1)  \
  DO(128, 96, 1, 3, 4, 2, 1)  \
  DO(128, 128, 1, 3, 2, 4, 1)
// The tiles of kernels named gemm_norm_RxC, which need clusters of outputs / columns blocks.
#define SLUICE_NORM_TILES(DO) \
  DO(32, 48, 2, 10, 2, 1, 4)  \
  DO(32, 64, 2, 8, 2, 1, 4)   \
  DO(32, 96, 2, 6, 2, 2, 2)   \
  DO(32, 128, 2, 5, 2, 2, 2)  \
  DO(64, 96, 1, 4, 4, 2, 1)   \
  DO(128, 64, 1, 3, 4, 2, 1)  \
  DO(128, 96, 1, 3, 4, 2, 1)  \
  DO(128, 128, 1, 3, 4, 2, 1)
// The tiles of kernels named gemm_{bias,gelu}_wide_RxC and gemm_norm_wide_RxC: sm_90 only.
#define SLUICE_WIDE_TILES(DO) \
  DO(128, 128, 1, 3, 8, 1, 1) \
  DO(128, 192, 1, 4, 8, 1, 1) \
  DO(256, 128, 1, 4, 16, 1, 1)
#define SLUICE_WIDE_NORM_TILES(DO) \
  DO(128, 96, 1, 3, 8, 1, 1)       \
  DO(128, 128, 1, 3, 8, 1, 1)      \
  DO(128, 192, 1, 4, 8, 1, 1)

}  // namespace sluice
