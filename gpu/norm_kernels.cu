// SPDX-License-Identifier: Apache-2.0
// The product kernels that end in a layer norm: the blocks of a cluster hold a whole row between
// them. GPUs without clusters use gemm_residual and layer_norm instead.

#include "gpu/gemm.cuh"

namespace sluice::device {
namespace {

extern __shared__ __align__(1024) unsigned char gemm_shared[];

}  // namespace
}  // namespace sluice::device

#define SLUICE_NORM_KERNEL(ROWS, COLUMNS, DEPTH, STAGES, M, N, K)                             \
  namespace sluice::device {                                                                  \
  struct Tile##ROWS##x##COLUMNS {                                                             \
    static constexpr GemmTile kTile = {ROWS, COLUMNS, DEPTH, STAGES, M, N, K};                \
  };                                                                                          \
  }                                                                                           \
  extern "C" __global__ void __launch_bounds__(                                               \
      sluice::device::Tile##ROWS##x##COLUMNS::kTile.threads(), (ROWS == 128 && COLUMNS < 128 ? 2 : 1))                             \
      gemm_norm_##ROWS##x##COLUMNS(const __grid_constant__ sluice::GemmParams params) {       \
    if constexpr (sluice::device::kHasClusters) {                                             \
      sluice::device::GemmBlock<sluice::device::Tile##ROWS##x##COLUMNS,                       \
                                sluice::device::Epilogue::kNorm>(params,                      \
                                                                 sluice::device::gemm_shared) \
          .run();                                                                             \
    }                                                                                         \
  }

SLUICE_NORM_TILES(SLUICE_NORM_KERNEL)
