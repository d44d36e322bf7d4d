// SPDX-License-Identifier: Apache-2.0
// The product kernels that every GPU can run.

#include "gpu/gemm.cuh"

namespace sluice::device {
namespace {

extern __shared__ __align__(1024) unsigned char gemm_shared[];

#if __CUDA_ARCH__ >= 800
inline constexpr uint32_t kSharedMax = 232448;
#else
inline constexpr uint32_t kSharedMax = 65536;  // what an sm_75 block can have
#endif

template <typename T, Epilogue kEpilogue>
__device__ __forceinline__ void gemm(const GemmParams& params) {
  if constexpr (T::kShared <= kSharedMax) {
    GemmBlock<T, kEpilogue>(params, gemm_shared).run();
  }
}

}  // namespace
}  // namespace sluice::device

#define SLUICE_GEMM(NAME, EPILOGUE, ROWS, COLUMNS, BLOCKS)                                        \
  extern "C" __global__ void __launch_bounds__(sluice::device::Tile##ROWS##x##COLUMNS::kTile      \
                                                   .threads(), BLOCKS)                            \
      gemm_##NAME##_##ROWS##x##COLUMNS(const __grid_constant__ sluice::GemmParams params) {       \
    sluice::device::gemm<sluice::device::Tile##ROWS##x##COLUMNS,                                  \
                         sluice::device::Epilogue::EPILOGUE>(params);                             \
  }
#define SLUICE_GEMM_KERNELS(ROWS, COLUMNS, DEPTH, STAGES, M, N, K)                        \
  namespace sluice::device {                                                              \
  struct Tile##ROWS##x##COLUMNS {                                                         \
    static constexpr GemmTile kTile = {ROWS, COLUMNS, DEPTH, STAGES, M, N, K};            \
    static constexpr uint32_t kShared = kTile.shared_bytes(false);                        \
  };                                                                                      \
  }                                                                                       \
  SLUICE_GEMM(bias, kBias, ROWS, COLUMNS, (ROWS == 128 && COLUMNS < 128 ? 2 : 1))                                              \
  SLUICE_GEMM(gelu, kGelu, ROWS, COLUMNS, (ROWS == 128 && COLUMNS < 128 ? 2 : 1))                                              \
  SLUICE_GEMM(residual, kResidual, ROWS, COLUMNS, (ROWS == 128 && COLUMNS < 128 ? 2 : 1))

SLUICE_GEMM_TILES(SLUICE_GEMM_KERNELS)

#define SLUICE_NORMED(NAME, EPILOGUE, ROWS, COLUMNS)                                            \
  extern "C" __global__ void __launch_bounds__(                                                 \
      sluice::device::Normed##ROWS##x##COLUMNS::kTile.threads())                                \
      gemm_##NAME##_normed_##ROWS##x##COLUMNS(                                                  \
          const __grid_constant__ sluice::GemmParams params) {                                  \
    using Tile = sluice::device::Normed##ROWS##x##COLUMNS;                                      \
    if constexpr (Tile::kShared <= sluice::device::kSharedMax) {                                \
      sluice::device::GemmBlock<Tile, sluice::device::Epilogue::EPILOGUE, false,                \
                                sluice::device::Prologue::kNorm>(params,                        \
                                                                 sluice::device::gemm_shared)   \
          .run();                                                                               \
    }                                                                                           \
  }
#define SLUICE_NORMED_KERNELS(ROWS, COLUMNS, DEPTH, STAGES, M, N, K)           \
  namespace sluice::device {                                                   \
  struct Normed##ROWS##x##COLUMNS {                                            \
    static constexpr GemmTile kTile = {ROWS, COLUMNS, DEPTH, STAGES, M, N, K}; \
    static constexpr uint32_t kShared = kTile.normed_shared_bytes();           \
  };                                                                           \
  }                                                                            \
  SLUICE_NORMED(bias, kBias, ROWS, COLUMNS)                                    \
  SLUICE_NORMED(gelu, kGelu, ROWS, COLUMNS)

SLUICE_NORMED_TILES(SLUICE_NORMED_KERNELS)
