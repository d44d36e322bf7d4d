// SPDX-License-Identifier: Apache-2.0
#pragma once
// Products of many rows with few inputs, on sm_90a. A block keeps 128 rows of x in shared memory and
// lets the weights of one tile of columns after the other stream past them: with 384 inputs or fewer
// that halves what must come from the second-level cache. Two teams of warps take turns with the
// tiles, so that one multiplies while the other stores.

#include "gpu/gemm.cuh"
#include "gpu/strip_shape.h"

namespace sluice::device {

template <Epilogue kEpilogue>
class GemmStrip {
 public:
  __device__ GemmStrip(const GemmParams& params, unsigned char* shared)
      : params_(params),
        shared_(shared),
        lane_(static_cast<int>(threadIdx.x) % 32),
        warp_(static_cast<int>(threadIdx.x) / 32 % kTeamWarps),
        team_(static_cast<int>(threadIdx.x) / 32 / kTeamWarps),
        steps_(static_cast<int>(params.inputs) / 64),
        tiles_(static_cast<int>(params.outputs) / kTile),
        weights_(shared_address(shared) +
                 static_cast<uint32_t>((steps_ + team_ * kStages) * kSlab)) {}

  __device__ void run() {
    let_next_start();
    float* bias = reinterpret_cast<float*>(shared_ + bias_at());
    for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(params_.outputs);
         i += kStripThreads) {
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
    ahead_ = settle(first);
    for (int i = 0; i < kStages - 1; ++i) {
      load_ahead(i);
      copies_commit();
    }
    int step = 0;
    for (int start = first; start < end_; start = row_end(start)) {
      __syncthreads();  // nobody reads the old rows any more
      load_x(start / tiles_);
      copies_commit();
      copies_wait<0>();
      fence_async();
      __syncthreads();
      for (int work = first_of(start); work < min(end_, row_end(start)); work += kTeams) {
        multiply(step);
        finish(work);
      }
    }
  }

 private:
  static constexpr int kTile = kStripTile;
  static constexpr int kTeams = kStripTeams;
  static constexpr int kTeamThreads = kStripThreads / kTeams;
  static constexpr int kTeamWarps = kTeamThreads / 32;
  static constexpr int kStages = kStripStages;
  static constexpr int kSlab = kStripSlabBytes;
  static constexpr int kPitch = kStripPitch;
  static constexpr int kN = kTile / 8;

  __device__ int staging_at() const { return (steps_ + kTeams * kStages) * kSlab; }
  __device__ int bias_at() const { return staging_at() + kStripStagingBytes; }
  // Work is numbered row by row of tiles. The end of the row that `work` is in:
  __device__ int row_end(int work) const { return (work / tiles_ + 1) * tiles_; }
  // The first of this team's from `start` on, in the same row: it takes every second, and another
  // half in every other row, for there may be one more in it.
  __device__ int first_of(int start) const { return start + (team_ ^ (start / tiles_ & 1)); }

  // The team's first work from `start` on, in this row or a later one; `end_` if there is none.
  __device__ int settle(int start) const {
    for (; start < end_; start = row_end(start)) {
      const int work = first_of(start);
      if (work < min(end_, row_end(start))) return work;
    }
    return end_;
  }

  // 128 rows of 64 values, from `from` on, by so many threads.
  template <int kThreads>
  __device__ void load_slab(const HalfBits* from, uint32_t to) const {
    constexpr int kRowsAtOnce = kThreads / 8;
    const int thread = static_cast<int>(threadIdx.x) % kThreads;
    const int row = thread / 8;
    const int part = thread % 8;
    from += static_cast<size_t>(row) * params_.inputs + part * 8;
    to += static_cast<uint32_t>(row * 128 + ((part ^ (row & 7)) * 16));
#pragma unroll
    for (int i = 0; i < kTile / kRowsAtOnce; ++i) {
      copy16(to + static_cast<uint32_t>(i * kRowsAtOnce * 128),
             from + static_cast<size_t>(i * kRowsAtOnce) * params_.inputs);
    }
  }
  __device__ void load_x(int row_tile) const {
    const HalfBits* from = params_.x + static_cast<size_t>(row_tile) * kTile * params_.inputs;
    for (int i = 0; i < steps_; ++i) {
      load_slab<kStripThreads>(from + i * 64,
                               shared_address(shared_) + static_cast<uint32_t>(i * kSlab));
    }
  }
  // Loads the weights of the team's next step that has none, to the place of step `step`.
  __device__ void load_ahead(int step) {
    if (ahead_ >= end_) return;
    load_slab<kTeamThreads>(
        params_.weight + static_cast<size_t>(ahead_ % tiles_) * kTile * params_.inputs +
            step_ahead_ * 64,
        weights_ + static_cast<uint32_t>(step % kStages * kSlab));
    if (++step_ahead_ < steps_) return;
    step_ahead_ = 0;
    const int row = row_end(ahead_);
    ahead_ = ahead_ + kTeams < row ? ahead_ + kTeams : settle(row);
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
      team_barrier();
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
  __device__ void team_barrier() const {
    asm volatile("bar.sync %0, %1;" ::"r"(1 + team_), "n"(kTeamThreads) : "memory");
  }

  // A warp stores the sixteen rows that it has computed, 32 columns at a time, by way of memory of
  // its own, so that each row's values lie together.
  __device__ void finish(int work) const {
    unsigned char* staging =
        shared_ + staging_at() + (team_ * kTeamWarps + warp_) * 16 * kPitch;
    const int first_column = work % tiles_ * kTile;
    const float* bias = reinterpret_cast<const float*>(shared_ + bias_at()) + first_column;
    const int first_row = work / tiles_ * kTile + warp_ * 16;
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      const float2 added = *reinterpret_cast<const float2*>(bias + n * 8 + lane_ % 4 * 2);
      float s[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        s[i] = sums_[n][i] + (i % 2 == 0 ? added.x : added.y);
        if constexpr (kEpilogue == Epilogue::kGelu) s[i] = gelu(s[i]);
      }
      unsigned char* to = staging + lane_ / 4 * kPitch + n % 4 * 16 + lane_ % 4 * 4;
      *reinterpret_cast<uint32_t*>(to) = pack(s[0], s[1]);
      *reinterpret_cast<uint32_t*>(to + 8 * kPitch) = pack(s[2], s[3]);
      if (n % 4 == 3) store(staging, first_row, first_column + n / 4 * 32);
    }
  }
  __device__ void store(const unsigned char* staging, int first_row, int first_column) const {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = i * 8 + lane_ / 4;
      if (first_row + row < tokens_) {
        *reinterpret_cast<uint4*>(params_.out +
                                  static_cast<size_t>(first_row + row) * params_.outputs +
                                  first_column + lane_ % 4 * 8) =
            *reinterpret_cast<const uint4*>(staging + row * kPitch + lane_ % 4 * 16);
      }
    }
    __syncwarp();
  }

  const GemmParams& params_;
  unsigned char* shared_;
  int lane_;
  int warp_;  // of the team
  int team_;
  int steps_;  // slabs of 64 inputs
  int tiles_;  // of columns
  uint32_t weights_;
  int tokens_ = 0;
  int end_ = 0;         // of this block's work
  int ahead_ = 0;       // the work that the next load is for
  int step_ahead_ = 0;  // and the step in it
  float sums_[kN][4] = {};
};

}  // namespace sluice::device
