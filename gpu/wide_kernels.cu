// SPDX-License-Identifier: Apache-2.0
// The product kernels for sm_90a: those of many rows, where its wide products count.

#include "gpu/gemm.cuh"
#include "gpu/strip.cuh"

namespace sluice::device {
namespace {

extern __shared__ __align__(1024) unsigned char gemm_shared[];

}  // namespace
}  // namespace sluice::device

// Two blocks on a multiprocessor where their shared memory fits twice.
#define SLUICE_WIDE_KERNEL(NAME, EPILOGUE, ROWS, COLUMNS, DEPTH, STAGES, M, N, K)             \
  namespace sluice::device {                                                                  \
  struct Wide_##NAME##_##ROWS##x##COLUMNS {                                                   \
    static constexpr GemmTile kTile = {ROWS, COLUMNS, DEPTH, STAGES, M, N, K};                \
    static constexpr int kBlocks = ROWS * COLUMNS <= 16384 ? 2 : 1;                           \
  };                                                                                          \
  }                                                                                           \
  extern "C" __global__ void __launch_bounds__(                                               \
      sluice::device::Wide_##NAME##_##ROWS##x##COLUMNS::kTile.threads(),                      \
      sluice::device::Wide_##NAME##_##ROWS##x##COLUMNS::kBlocks)                              \
      gemm_##NAME##_wide_##ROWS##x##COLUMNS(                                                  \
          const __grid_constant__ sluice::GemmParams params) {                                \
    sluice::device::GemmBlock<sluice::device::Wide_##NAME##_##ROWS##x##COLUMNS,               \
                              sluice::device::Epilogue::EPILOGUE, true>(                      \
        params, sluice::device::gemm_shared)                                                  \
        .run();                                                                               \
  }
#define SLUICE_WIDE_BIAS(...) SLUICE_WIDE_KERNEL(bias, kBias, __VA_ARGS__)
#define SLUICE_WIDE_GELU(...) SLUICE_WIDE_KERNEL(gelu, kGelu, __VA_ARGS__)
#define SLUICE_WIDE_NORM(...) SLUICE_WIDE_KERNEL(norm, kNorm, __VA_ARGS__)

SLUICE_WIDE_TILES(SLUICE_WIDE_BIAS)
SLUICE_WIDE_TILES(SLUICE_WIDE_GELU)
SLUICE_WIDE_NORM_TILES(SLUICE_WIDE_NORM)

#define SLUICE_STRIP_KERNEL(NAME, EPILOGUE)                                               \
  extern "C" __global__ void __launch_bounds__(sluice::kStripThreads, 1)                  \
      gemm_##NAME##_strip(const __grid_constant__ sluice::GemmParams params) {            \
    sluice::device::GemmStrip<sluice::device::Epilogue::EPILOGUE>(                        \
        params, sluice::device::gemm_shared)                                              \
        .run();                                                                           \
  }

SLUICE_STRIP_KERNEL(bias, kBias)
SLUICE_STRIP_KERNEL(gelu, kGelu)
