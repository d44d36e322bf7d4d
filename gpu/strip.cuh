// SPDX-License-Identifier: Apache-2.0
#pragma once
// Products of many rows with few inputs, on sm_90a. A block keeps 128 rows of x in shared memory and
// lets the weights of one tile of columns after the other stream past them: with 384 inputs or fewer
// that halves what must come from the second-level cache, which is what limits them.

#include "gpu/gemm.cuh"
#include "gpu/strip_shape.h"

namespace sluice::device {

template <Epilogue kEpilogue>
class GemmStrip {
 public:
  __device__ GemmStrip(const GemmParams& params, unsigned char* shared)
      : params_(params),
        shared_(shared),
        thread_(static_cast<int>(threadIdx.x)),
        lane_(thread_ % 32),
        warp_(thread_ / 32),
        steps_(static_cast<int>(params.inputs) / 64),
        tiles_(static_cast<int>(params.outputs) / kTile),
        weights_(shared_address(shared) + static_cast<uint32_t>(steps_ * kSlab)) {
    const int row = thread_ / 8;
    const int part = thread_ % 8;
    copy_to_ = static_cast<uint32_t>(row * 128 + ((part ^ (row & 7)) * 16));
    copy_from_ = static_cast<size_t>(row) * params.inputs + part * 8;
  }

  __device__ void run() {
    let_next_start();
    float* bias = reinterpret_cast<float*>(shared_ + bias_at());
    for (int i = thread_; i < static_cast<int>(params_.outputs); i += kThreads) {
      bias[i] = params_.bias[i];
    }
    wait_for_previous();
    tokens_ = static_cast<int>(params_.header->tokens);
    const int all = (tokens_ + kTile - 1) / kTile * tiles_;
    const int blocks = static_cast<int>(gridDim.x);
    const int each = (all + blocks - 1) / blocks;
    const int first = static_cast<int>(blockIdx.x) * each;
    end_ = min(all, first + each);
    if (first >= end_) return;
    work_ahead_ = first;
    load_x(first / tiles_);
    for (int i = 0; i < kStages - 1; ++i) {
      load_ahead(i);
      copies_commit();
    }
    int step = 0;
    for (int work = first; work < end_; ++work) {
      if (work != first && work % tiles_ == 0) {
        __syncthreads();  // nobody reads the old rows any more
        load_x(work / tiles_);
        copies_commit();
        copies_wait<0>();
      }
      multiply(step);
      finish(work);
    }
  }

 private:
  static constexpr int kTile = kStripTile;
  static constexpr int kThreads = kStripThreads;
  static constexpr int kStages = kStripStages;
  static constexpr int kSlab = kStripSlabBytes;
  static constexpr int kPitch = kStripPitch;
  static constexpr int kN = kTile / 8;

  __device__ int tile_at() const { return (steps_ + kStages) * kSlab; }
  __device__ int bias_at() const { return tile_at() + kTile * kPitch; }

  // 128 rows of 64 values, from `from` on.
  __device__ void load_slab(const HalfBits* from, uint32_t to) const {
    constexpr int kRowsAtOnce = kThreads / 8;
#pragma unroll
    for (int i = 0; i < kTile / kRowsAtOnce; ++i) {
      copy16(to + copy_to_ + static_cast<uint32_t>(i * kRowsAtOnce * 128),
             from + copy_from_ + static_cast<size_t>(i * kRowsAtOnce) * params_.inputs);
    }
  }
  __device__ void load_x(int row_tile) const {
    const HalfBits* from = params_.x + static_cast<size_t>(row_tile) * kTile * params_.inputs;
    for (int i = 0; i < steps_; ++i) {
      load_slab(from + i * 64, shared_address(shared_) + static_cast<uint32_t>(i * kSlab));
    }
  }
  // Loads the weights of the next step that has none, to the place of step `step`.
  __device__ void load_ahead(int step) {
    if (work_ahead_ >= end_) return;
    load_slab(params_.weight +
                  static_cast<size_t>(work_ahead_ % tiles_) * kTile * params_.inputs +
                  step_ahead_ * 64,
              weights_ + static_cast<uint32_t>(step % kStages * kSlab));
    if (++step_ahead_ == steps_) {
      step_ahead_ = 0;
      ++work_ahead_;
    }
  }

  __device__ void multiply(int& step) {
#pragma unroll
    for (auto& sums : sums_) {
#pragma unroll
      for (float& sum : sums) sum = 0;
    }
    for (int i = 0; i < steps_; ++i, ++step) {
      copies_wait<kStages - 2>();
      fence_async();
      __syncthreads();
      load_ahead(step + kStages - 1);
      copies_commit();
      const uint64_t x = matrix_descriptor(shared_address(shared_) +
                                           static_cast<uint32_t>(i * kSlab + warp_ / 4 * 64 * 128));
      const uint64_t weight =
          matrix_descriptor(weights_ + static_cast<uint32_t>(step % kStages * kSlab));
      wide_begin();
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        WideProduct<kTile>::multiply_add(sums_, x + 2 * part, weight + 2 * part);
      }
      wide_end();
    }
  }

  __device__ void finish(int work) {
    unsigned char* tile = shared_ + tile_at();
    const int first_column = work % tiles_ * kTile;
    const float* bias = reinterpret_cast<const float*>(shared_ + bias_at()) + first_column;
    const int row = warp_ * 16 + lane_ / 4;
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      const int column = n * 8 + lane_ % 4 * 2;
      const float2 added = *reinterpret_cast<const float2*>(bias + column);
      float(&s)[4] = sums_[n];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[i] += i % 2 == 0 ? added.x : added.y;
        if constexpr (kEpilogue == Epilogue::kGelu) s[i] = gelu(s[i]);
      }
      *reinterpret_cast<uint32_t*>(tile + row * kPitch + column * 2) = pack(s[0], s[1]);
      *reinterpret_cast<uint32_t*>(tile + (row + 8) * kPitch + column * 2) = pack(s[2], s[3]);
    }
    // A warp stores the sixteen rows that it has computed, so it waits for nobody else.
    __syncwarp();
    const int first_row = work / tiles_ * kTile + warp_ * 16;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int at = i * 2 + lane_ / 16;
      const int part = lane_ % 16;
      if (first_row + at < tokens_) {
        *reinterpret_cast<uint4*>(params_.out +
                                  static_cast<size_t>(first_row + at) * params_.outputs +
                                  first_column + part * 8) =
            *reinterpret_cast<const uint4*>(tile + (warp_ * 16 + at) * kPitch + part * 16);
      }
    }
    __syncwarp();
  }

  const GemmParams& params_;
  unsigned char* shared_;
  int thread_, lane_, warp_;
  int steps_;  // slabs of 64 inputs
  int tiles_;  // of columns
  uint32_t weights_;
  uint32_t copy_to_;
  size_t copy_from_;
  int tokens_ = 0;
  int end_ = 0;         // of this block's work
  int work_ahead_ = 0;  // what the next load is for
  int step_ahead_ = 0;
  float sums_[kN][4] = {};
};

}  // namespace sluice::device
