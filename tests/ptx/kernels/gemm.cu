// SPDX-License-Identifier: Apache-2.0
// C = gelu(A * B^T + bias): tiles of 64 x 64 in two stages, four warps of 16 rows each.
#include "tests/ptx/kernels/mma.cuh"

struct Shape {
  int m, n, k;
};

namespace {

constexpr int kTile = 64;
constexpr int kStep = 32;
constexpr int kPitch = kStep + 8;  // rows of a matrix fall into different banks

struct Stage {
  __half a[kTile * kPitch];
  __half b[kTile * kPitch];
};

__device__ void load_stage(Stage& stage, const __half* a, const __half* b, Shape shape, int m0,
                           int n0, int k0) {
  for (int i = threadIdx.x; i < kTile * kStep / 8; i += blockDim.x) {
    const int row = i / (kStep / 8);
    const int column = i % (kStep / 8) * 8;
    const bool in_a = m0 + row < shape.m;
    const bool in_b = n0 + row < shape.n;
    copy_16(stage.a + row * kPitch + column,
            a + static_cast<size_t>(in_a ? m0 + row : 0) * shape.k + k0 + column, in_a);
    copy_16(stage.b + row * kPitch + column,
            b + static_cast<size_t>(in_b ? n0 + row : 0) * shape.k + k0 + column, in_b);
  }
  commit_copies();
}

__device__ void multiply_stage(const Stage& stage, float (&sums)[8][4]) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  for (int k = 0; k < kStep; k += 16) {
    uint32_t a[4];
    load_matrices(a, stage.a + (16 * warp + lane % 16) * kPitch + k + lane / 16 * 8);
    for (int j = 0; j < 8; ++j) {
      uint32_t b[2];
      load_matrices(b, stage.b + (8 * j + lane % 8) * kPitch + k + lane / 8 % 2 * 8);
      multiply_add(sums[j], a, b);
    }
  }
}

__device__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }

}  // namespace

// `barriers` = false leaves out the barrier between the use of a stage and its next load.
template <bool barriers>
__device__ void gemm(const __half* a, const __half* b, const float* bias, __half* c, Shape shape) {
  __shared__ __align__(16) Stage stages[2];
  const int m0 = blockIdx.y * kTile;
  const int n0 = blockIdx.x * kTile;
  float sums[8][4] = {};
  load_stage(stages[0], a, b, shape, m0, n0, 0);
  for (int k0 = 0, at = 0; k0 < shape.k; k0 += kStep, at ^= 1) {
    if (k0 + kStep < shape.k) {
      load_stage(stages[at ^ 1], a, b, shape, m0, n0, k0 + kStep);
      wait_for_copies<1>();
    } else {
      wait_for_copies<0>();
    }
    __syncthreads();
    multiply_stage(stages[at], sums);
    if (barriers) __syncthreads();
  }
  const int lane = threadIdx.x % 32;
  for (int j = 0; j < 8; ++j) {
    for (int half = 0; half < 2; ++half) {
      const int row = m0 + threadIdx.x / 32 * 16 + lane / 4 + 8 * half;
      const int column = n0 + 8 * j + lane % 4 * 2;
      if (row >= shape.m || column >= shape.n) continue;
      const __half2 pair = __floats2half2_rn(gelu(sums[j][2 * half] + bias[column]),
                                             gelu(sums[j][2 * half + 1] + bias[column + 1]));
      *reinterpret_cast<__half2*>(c + static_cast<size_t>(row) * shape.n + column) = pair;
    }
  }
}

extern "C" __global__ void __launch_bounds__(128)
    gemm_gelu(const __half* a, const __half* b, const float* bias, __half* c, Shape shape) {
  gemm<true>(a, b, bias, c, shape);
}
extern "C" __global__ void __launch_bounds__(128)
    gemm_wrong(const __half* a, const __half* b, const float* bias, __half* c, Shape shape) {
  gemm<false>(a, b, bias, c, shape);
}
