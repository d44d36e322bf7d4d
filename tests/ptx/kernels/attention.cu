// SPDX-License-Identifier: Apache-2.0
// Attention over sequences of different lengths that lie one after another, heads of 32, softmax as
// it goes. A warp has 16 queries; keys come in tiles of 16, through shared memory.
#include "tests/ptx/kernels/mma.cuh"

struct AttentionInput {
  const __half* qkv;  // tokens x 3 x heads x 32
  __half* out;        // tokens x heads x 32
  const int* starts;  // of the sequences, and the end
  const int2* tiles;  // sequence and first query of each block
  int heads;
  float scale;  // times log2(e)
};

namespace {

constexpr int kHead = 32;
constexpr int kPitch = kHead + 8;
constexpr int kWarps = 2;

struct Tiles {
  __half q[16 * kWarps * kPitch];
  __half k[16 * kPitch];
  __half v[16 * kPitch];
};

// Rows of one of q, k and v; beyond the sequence they are 0.
__device__ void load_rows(__half* to, int rows, const AttentionInput& in, int part, int first,
                          int end) {
  for (int i = threadIdx.x; i < rows * kHead / 8; i += blockDim.x) {
    const int row = i / (kHead / 8);
    const int column = i % (kHead / 8) * 8;
    const size_t width = static_cast<size_t>(in.heads) * kHead;
    uint4 value = make_uint4(0, 0, 0, 0);
    if (first + row < end) {
      value = *reinterpret_cast<const uint4*>(in.qkv + (first + row) * 3 * width + part * width +
                                              blockIdx.y * kHead + column);
    }
    *reinterpret_cast<uint4*>(to + row * kPitch + column) = value;
  }
}

__device__ uint32_t pack(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

__device__ float across_four(float value, bool maximum) {
  for (int step = 1; step < 4; step *= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, value, step);
    value = maximum ? fmaxf(value, other) : value + other;
  }
  return value;
}

struct Rows {
  float out[4][4] = {};
  float top[2] = {-INFINITY, -INFINITY};
  float total[2] = {};
};

// One tile of keys, of which `count` are there.
__device__ void attend(Rows& rows, const Tiles& tiles, const uint32_t (&q)[2][4], int count,
                       float scale) {
  const int lane = threadIdx.x % 32;
  float scores[2][4] = {};
  for (int j = 0; j < 2; ++j) {
    for (int half = 0; half < 2; ++half) {
      uint32_t k[2];
      load_matrices(k, tiles.k + (8 * j + lane % 8) * kPitch + 16 * half + lane / 8 % 2 * 8);
      multiply_add(scores[j], q[half], k);
    }
    for (int i = 0; i < 4; ++i) {
      const int key = 8 * j + lane % 4 * 2 + i % 2;
      scores[j][i] = key < count ? scores[j][i] * scale : -INFINITY;
    }
  }
  for (int half = 0; half < 2; ++half) {
    const int i = 2 * half;
    const float top =
        fmaxf(rows.top[half], across_four(fmaxf(fmaxf(scores[0][i], scores[0][i + 1]),
                                                fmaxf(scores[1][i], scores[1][i + 1])),
                                          true));
    const float shrink = exp2f(rows.top[half] - top);
    float total = 0;
    for (int j = 0; j < 2; ++j) {
      for (int n = i; n < i + 2; ++n) {
        scores[j][n] = exp2f(scores[j][n] - top);
        total += scores[j][n];
      }
    }
    rows.top[half] = top;
    rows.total[half] = rows.total[half] * shrink + across_four(total, false);
    for (int n = 0; n < 4; ++n) {
      rows.out[n][i] *= shrink;
      rows.out[n][i + 1] *= shrink;
    }
  }
  const uint32_t p[4] = {pack(scores[0][0], scores[0][1]), pack(scores[0][2], scores[0][3]),
                         pack(scores[1][0], scores[1][1]), pack(scores[1][2], scores[1][3])};
  for (int n = 0; n < 4; ++n) {
    uint32_t v[2];
    load_transposed(v, tiles.v + lane % 16 * kPitch + 8 * n);
    multiply_add(rows.out[n], p, v);
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(32 * kWarps) attention(AttentionInput in) {
  __shared__ __align__(16) Tiles tiles;
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
  const int2 tile = in.tiles[blockIdx.x];
  const int begin = in.starts[tile.x];
  const int end = in.starts[tile.x + 1];
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  load_rows(tiles.q, 16 * kWarps, in, 0, begin + tile.y, end);
  __syncthreads();
  uint32_t q[2][4];
  for (int half = 0; half < 2; ++half) {
    load_matrices(q[half], tiles.q + (16 * warp + lane % 16) * kPitch + 16 * half + lane / 16 * 8);
  }
  Rows rows;
  for (int key = begin; key < end; key += 16) {
    __syncthreads();
    load_rows(tiles.k, 16, in, 1, key, end);
    load_rows(tiles.v, 16, in, 2, key, end);
    __syncthreads();
    attend(rows, tiles, q, end - key, in.scale);
  }
  for (int half = 0; half < 2; ++half) {
    const int token = begin + tile.y + 16 * warp + lane / 4 + 8 * half;
    if (token >= end) continue;
    const float scale = 1.0f / rows.total[half];
    for (int n = 0; n < 4; ++n) {
      const size_t at =
          (static_cast<size_t>(token) * in.heads + blockIdx.y) * kHead + 8 * n + lane % 4 * 2;
      *reinterpret_cast<__half2*>(in.out + at) =
          __floats2half2_rn(rows.out[n][2 * half] * scale, rows.out[n][2 * half + 1] * scale);
    }
  }
}
