// SPDX-License-Identifier: Apache-2.0
#pragma once
// Attention over texts of any lengths, without padding: a block takes 64 queries of one text and
// one head, and passes over that text's keys 64 at a time with a running softmax, so that no score
// ever leaves the registers.

#include "gpu/device_tools.cuh"

namespace sluice::device {

__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Four warps with 16 queries each.
template <int kHead>
class AttentionBlock {
 public:
  static constexpr int kThreads = 128;
  static constexpr int kKeys = 64;
  static constexpr int kPitch = 2 * kHead + 16;  // bytes; the padding keeps rows out of each
                                                 // other's banks
  static constexpr int kMatrixBytes = kKeys * kPitch;
  static constexpr int kSharedBytes = 4 * kMatrixBytes;  // keys and values, twice

  __device__ AttentionBlock(const AttentionParams& params, unsigned char* shared)
      : params_(params),
        base_(shared_address(shared)),
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_(static_cast<int>(threadIdx.x) / 32),
        width_(static_cast<int>(params.heads) * kHead) {}

  __device__ void run() {
    let_next_start();
    wait_for_previous();
    uint32_t work = blockIdx.x;
    uint4 tile = tile_of(work);  // loaded before it is known whether there is any
    const uint32_t works = params_.header->tiles * params_.heads;
    while (work < works) {
      const uint32_t head = work % params_.heads;
      work += gridDim.x;
      const uint4 next = work < works ? tile_of(work) : tile;
      attend(static_cast<int>(tile.x), static_cast<int>(tile.y), static_cast<int>(tile.z),
             static_cast<int>(head));
      tile = next;
    }
  }

 private:
  static constexpr float kLeast = -1e30F;

  __device__ uint4 tile_of(uint32_t work) const {
    return reinterpret_cast<const uint4*>(params_.tiles)[work / params_.heads];
  }

  __device__ void attend(int start, int length, int row, int head) {
    start_ = start;
    length_ = length;
    head_ = head;
    row_ = row + warp_ * 16 + lane_ / 4;
    const bool busy = row + warp_ * 16 < length;
    load_keys(0, 0);  // the barrier at the loop's end has seen the last of the text before
    if (busy) load_queries();
    begin();
    const int blocks = (length + kKeys - 1) / kKeys;
    for (int block = 0; block < blocks; ++block) {
      if (block + 1 < blocks) load_keys(block + 1, (block + 1) % 2);
      copies_commit();
      copies_wait<1>();
      __syncthreads();
      if (busy) step(block * kKeys, block % 2);
      __syncthreads();
    }
    if (busy) store();
  }

  __device__ const HalfBits* source(int token, int third) const {
    return params_.qkv + static_cast<size_t>(start_ + token) * (3 * width_) + third * width_ +
           head_ * kHead;
  }
  __device__ uint32_t matrix(int slot, int third) const {
    return base_ + static_cast<uint32_t>((slot * 2 + third - 1) * kMatrixBytes);
  }

  __device__ void load_keys(int block, int slot) const {
    constexpr int kParts = kHead / 8;
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < kKeys * kParts; i += kThreads) {
      const int key = block * kKeys + i / kParts;
      const int part = i % kParts;
      const bool valid = key < length_;
      const uint32_t at = static_cast<uint32_t>(i / kParts * kPitch + part * 16);
      const int from = valid ? key : 0;
      copy16_or_zero(matrix(slot, 1) + at, source(from, 1) + part * 8, valid);
      copy16_or_zero(matrix(slot, 2) + at, source(from, 2) + part * 8, valid);
    }
    if (block == 0) copies_commit();
  }

  // Rows after the text's last repeat that one; their results are not stored.
  __device__ void load_queries() {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int token = min(row_ + 8 * i, length_ - 1);
      const uint32_t* from =
          reinterpret_cast<const uint32_t*>(source(token, 0)) + lane_ % 4;
#pragma unroll
      for (int k = 0; k < kHead / 16; ++k) {
        queries_[k][i] = from[k * 8];
        queries_[k][2 + i] = from[k * 8 + 4];
      }
    }
  }

  __device__ void begin() {
#pragma unroll
    for (int i = 0; i < kHead / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums_[i][j] = 0;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      greatest_[i] = kLeast;
      total_[i] = 0;
    }
  }

  __device__ void step(int first_key, int slot) {
    float scores[kKeys / 8][4];
    score(slot, scores);
    if (first_key + kKeys > length_) mask(first_key, scores);
    soften(scores);
    gather(slot, scores);
  }

  __device__ void score(int slot, float (&scores)[kKeys / 8][4]) const {
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) scores[2 * n][j] = scores[2 * n + 1][j] = 0;
#pragma unroll
      for (int k = 0; k < kHead / 16; ++k) {
        uint32_t keys[4];
        const int row = n * 16 + lane_ / 16 * 8 + lane_ % 8;
        load_matrices(keys, matrix(slot, 1) +
                                static_cast<uint32_t>(row * kPitch + k * 32 + lane_ / 8 % 2 * 16));
        multiply_add(scores[2 * n], queries_[k], keys[0], keys[1]);
        multiply_add(scores[2 * n + 1], queries_[k], keys[2], keys[3]);
      }
    }
  }
  __device__ void mask(int first_key, float (&scores)[kKeys / 8][4]) const {
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int key = first_key + n * 8 + lane_ % 4 * 2 + j % 2;
        if (key >= length_) scores[n][j] = kLeast;
      }
    }
  }
  // Turns scores into weights against the greatest so far, and brings what is summed up to it.
  __device__ void soften(float (&scores)[kKeys / 8][4]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float greatest = greatest_[i];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        greatest = fmaxf(greatest, fmaxf(scores[n][2 * i], scores[n][2 * i + 1]));
      }
      greatest = fmaxf(greatest, __shfl_xor_sync(0xffffffffU, greatest, 1));
      greatest = fmaxf(greatest, __shfl_xor_sync(0xffffffffU, greatest, 2));
      const float scale = params_.scale_log2;
      const float shrink = power_of_two((greatest_[i] - greatest) * scale);
      const float offset = greatest * scale;
      greatest_[i] = greatest;
      total_[i] *= shrink;
#pragma unroll
      for (int n = 0; n < kHead / 8; ++n) {
        sums_[n][2 * i] *= shrink;
        sums_[n][2 * i + 1] *= shrink;
      }
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& weight = scores[n][2 * i + j];
          weight = power_of_two(fmaf(weight, scale, -offset));
          total_[i] += weight;
        }
      }
    }
  }
  __device__ void gather(int slot, const float (&weights)[kKeys / 8][4]) {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const uint32_t a[4] = {pack(weights[2 * k][0], weights[2 * k][1]),
                             pack(weights[2 * k][2], weights[2 * k][3]),
                             pack(weights[2 * k + 1][0], weights[2 * k + 1][1]),
                             pack(weights[2 * k + 1][2], weights[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < kHead / 16; ++n) {
        uint32_t values[4];
        const int row = k * 16 + lane_ % 16;
        load_matrices_transposed(
            values,
            matrix(slot, 2) + static_cast<uint32_t>(row * kPitch + n * 32 + lane_ / 16 * 16));
        multiply_add(sums_[2 * n], a, values[0], values[1]);
        multiply_add(sums_[2 * n + 1], a, values[2], values[3]);
      }
    }
  }

  __device__ void store() {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      total_[i] += __shfl_xor_sync(0xffffffffU, total_[i], 1);
      total_[i] += __shfl_xor_sync(0xffffffffU, total_[i], 2);
      const float factor = 1.0F / total_[i];
      const int row = row_ + 8 * i;
      if (row >= length_) continue;
      uint32_t* to = reinterpret_cast<uint32_t*>(
                         params_.out + static_cast<size_t>(start_ + row) * width_ + head_ * kHead) +
                     lane_ % 4;
#pragma unroll
      for (int n = 0; n < kHead / 8; ++n) {
        to[n * 4] = pack(sums_[n][2 * i] * factor, sums_[n][2 * i + 1] * factor);
      }
    }
  }

  const AttentionParams& params_;
  uint32_t base_;
  int lane_, warp_, width_;
  int start_ = 0, length_ = 0, head_ = 0;
  int row_ = 0;  // this lane's first query; the other is eight below
  uint32_t queries_[kHead / 16][4] = {};
  float sums_[kHead / 8][4] = {};
  float greatest_[2] = {};
  float total_[2] = {};
};

}  // namespace sluice::device
