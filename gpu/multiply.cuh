// SPDX-License-Identifier: Apache-2.0
#pragma once
// What one warp does with its part of a tile: products of a step, and adding up with other warps.

#include "gpu/device_tools.cuh"

namespace sluice::device {

// sums += x * weight^T over `kTimes` times sixteen inputs of a step, every `kEvery`-th from the
// warp's first on. `x` and `weight` are the addresses of the lane's rows in the first slab, `x_part`
// and `weight_part` the permuted places of the parts it begins with; the other slabs follow.
template <int kM, int kN, int kTimes, int kEvery>
__device__ __forceinline__ void multiply_stage(float (&sums)[kM][kN][4], uint32_t x, uint32_t weight,
                                               uint32_t x_part, uint32_t weight_part, int x_slab,
                                               int weight_slab) {
#pragma unroll
  for (int i = 0; i < kTimes; ++i) {
    // Which slab of 64 inputs, and in it which two parts of 16 bytes.
    const int slab = i * kEvery / 4;
    const uint32_t parts = i * kEvery % 4 * 32;
    uint32_t a[kM][4];
    uint32_t b[kN / 2][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      load_matrices(a[m], x + slab * x_slab + m * 16 * 128 + (x_part ^ parts));
    }
#pragma unroll
    for (int n = 0; n < kN / 2; ++n) {
      load_matrices(b[n], weight + slab * weight_slab + n * 16 * 128 + (weight_part ^ parts));
    }
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        multiply_add(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
      }
    }
  }
}

// Adds the sums of `kWarps` warps into those of warp 0. `place` tells apart the kPlaces tiles of
// sums that are added at the same time; `parts` is shared memory for all but warp 0's.
template <int kM, int kN, int kWarps, int kPlaces>
__device__ __forceinline__ void add_warps(float (&sums)[kM][kN][4], float* parts, int warp, int place,
                                          int lane) {
  constexpr int kSums = kM * kN * 4;
  if (warp > 0) {
    float* to = parts + ((warp - 1) * kPlaces + place) * kSums * 32 + lane;
#pragma unroll
    for (int i = 0; i < kSums; ++i) to[i * 32] = sums[i / 4 / kN][i / 4 % kN][i % 4];
  }
  __syncthreads();
  if (warp > 0) return;
#pragma unroll
  for (int k = 0; k < kWarps - 1; ++k) {
    const float* from = parts + (k * kPlaces + place) * kSums * 32 + lane;
#pragma unroll
    for (int i = 0; i < kSums; ++i) sums[i / 4 / kN][i / 4 % kN][i % 4] += from[i * 32];
  }
}

}  // namespace sluice::device
