// SPDX-License-Identifier: Apache-2.0
#pragma once
// A tile of out = x * weight^T with what comes after it. Operands stream through shared memory in
// `stages` steps; rows there are 128 bytes whose 16-byte parts are permuted by the row's number, so
// that neither the copies in nor the matrix loads out meet in a bank.

#include "gpu/device_tools.cuh"
#include "gpu/epilogue.cuh"
#include "gpu/gemm_tiles.h"
#include "gpu/multiply.cuh"
#include "gpu/normed.cuh"
#include "gpu/wide_product.cuh"

namespace sluice::device {

// What is done to x before the product.
enum class Prologue { kNone, kNorm };

// T is a type with a constexpr GemmTile `kTile`. `kWide` uses the products of whole groups of four
// warps that only sm_90a has.
template <typename T, Epilogue kEpilogue, bool kWide = false, Prologue kPrologue = Prologue::kNone>
class GemmBlock {
 public:
  static constexpr GemmTile kTile = T::kTile;
  static constexpr int kThreads = kTile.threads();

  __device__ GemmBlock(const GemmParams& params, unsigned char* shared)
      : params_(params),
        shared_(shared),
        base_(shared_address(shared)),
        thread_(static_cast<int>(threadIdx.x)),
        lane_(thread_ % 32),
        warp_(thread_ / 32),
        warp_n_(warp_ % kWarpsN),
        warp_m_(warp_ / kWarpsN % kWarpsM),
        warp_k_(warp_ / kWarpsN / kWarpsM),
        first_row_(static_cast<int>(blockIdx.y) * kRows),
        first_column_(static_cast<int>(blockIdx.x) * kColumns),
        steps_(static_cast<int>(params.inputs) / (64 * kDepth)) {
    const int row = thread_ / 8;
    const int part = thread_ % 8;
    copy_to_ = base_ + static_cast<uint32_t>(row * 128 + ((part ^ (row & 7)) * 16));
    rows_stride_ = static_cast<int>(params.inputs) * kRowsAtOnce;
    const size_t inputs = params.inputs;
    x_from_ = params.x + (first_row_ + row) * inputs + part * 8;
    weight_from_ = params.weight + (first_column_ + row) * inputs + part * 8;
    const int swizzle = (lane_ & 7) ^ (2 * warp_k_);
    x_row_ = static_cast<uint32_t>((warp_m_ * kWarpRows + lane_ % 16) * 128);
    x_part_ = static_cast<uint32_t>((lane_ / 16 ^ swizzle) * 16);
    weight_row_ = static_cast<uint32_t>(
        kRows * 128 * kDepth + (warp_n_ * kWarpColumns + lane_ / 16 * 8 + lane_ % 8) * 128);
    weight_part_ = static_cast<uint32_t>((lane_ / 8 % 2 ^ swizzle) * 16);
  }

  __device__ void run() {
    if constexpr (kNorm) cluster_arrive();
    let_next_start();
    load_constants();
    for (int step = 0; step < kStages - 1 && step < steps_; ++step) load_weight(step);
    wait_for_previous();
    tokens_ = static_cast<int>(params_.header->tokens);
    // The rows are loaded before it is known whether they are any: the loads overlap.
    for (int step = 0; step < kStages - 1; ++step) {
      if (step < steps_) load_x(step);
      copies_commit();
    }
    if (first_row_ >= tokens_) {
      copies_wait<0>();
      return;
    }
    if constexpr (kNormed) normalise_x();
    for (int step = 0; step < steps_; ++step) {
      copies_wait<kStages - 2>();
      if constexpr (kWide) fence_async();
      __syncthreads();
      load_ahead(step + kStages - 1);
      if constexpr (kWide) {
        multiply_wide(step % kStages);
      } else {
        multiply(step % kStages);
      }
    }
    copies_wait<0>();
    __syncthreads();
    if constexpr (kSplit) {
      finish_split();
    } else {
      if constexpr (kWarpsK > 1) add_up();
      finish();
    }
  }

 private:
  static constexpr bool kNormed = kPrologue == Prologue::kNorm;
  static constexpr bool kNorm = kEpilogue == Epilogue::kNorm;
  // Whether all threads share the work after the products, each with few sums of its own.
  static constexpr bool kSplit = kTile.warps_k > 1 && !kNorm;
  static constexpr bool kResidual = kNorm || kEpilogue == Epilogue::kResidual;
  static constexpr bool kAddsResidual = kResidual && !kSplit;  // by way of shared memory
  static constexpr int kRows = kTile.rows, kColumns = kTile.columns, kDepth = kTile.depth;
  static constexpr int kStages = kTile.stages;
  static constexpr int kWarpsM = kTile.warps_m, kWarpsN = kTile.warps_n, kWarpsK = kTile.warps_k;
  static constexpr int kWarpRows = kRows / kWarpsM, kWarpColumns = kColumns / kWarpsN;
  static constexpr int kRowsAtOnce = kThreads / 8;
  static constexpr int kM = kWarpRows / 16, kN = kWarpColumns / 8;
  static constexpr int kStageBytes = kTile.stage_bytes();
  static constexpr int kConstantsAt = kStages * kStageBytes;
  static constexpr int kStatisticsAt = kConstantsAt + 3 * kColumns * 4;
  static constexpr int kNormedAt = kConstantsAt + 3 * kColumns * 4;  // where norm has statistics
  // The residual's rows, later the result's, in the memory of one stage or two; padded where that
  // fits.
  static constexpr int kTileSlots = kRows * 2 * kColumns <= kStageBytes ? 1 : 2;
  static constexpr int kSlotRows = kRows / kTileSlots;
  static constexpr int kPitch =
      kSlotRows * (2 * kColumns + 16) <= kStageBytes ? 2 * kColumns + 16 : 2 * kColumns;
  static_assert(kM * 16 * kWarpsM == kRows && kN * 8 * kWarpsN == kColumns && kN % 2 == 0);
  static_assert(4 * kDepth % kWarpsK == 0, "each warp has a part of every step");
  static_assert(kSlotRows * kPitch <= kStageBytes && kStages > kTileSlots);
  static_assert((kWarpsK - 1) * kRows * kColumns * 4 <= kStageBytes, "add_up() uses one stage");

  __device__ uint32_t stage(int index) const {
    return base_ + static_cast<uint32_t>(index) * kStageBytes;
  }
  __device__ float* constants() const {
    return reinterpret_cast<float*>(shared_ + kConstantsAt);
  }

  __device__ void load_constants() const {
    for (int i = thread_; i < kColumns; i += kThreads) {
      constants()[i] = params_.bias[first_column_ + i];
      if constexpr (kNorm) {
        constants()[kColumns + i] = params_.scale[first_column_ + i];
        constants()[2 * kColumns + i] = params_.shift[first_column_ + i];
      }
    }
    if constexpr (kNormed) {
      float* scale = reinterpret_cast<float*>(shared_ + kNormedAt);
      for (int i = thread_; i < static_cast<int>(params_.inputs); i += kThreads) {
        scale[i] = params_.x_scale[i];
        scale[kNormedInputsMax + i] = params_.x_shift[i];
      }
    }
  }

  // A thread copies the same part of every kRowsAtOnce-th row, so that addresses are sums.
  // All of x is on its way.
  __device__ void normalise_x() {
    static_assert(!kNormed || (kThreads / 8 == kRows &&
                               (kStages - 1) * kDepth * 64 >= static_cast<int>(kNormedInputsMax)));
    copies_wait<0>();
    __syncthreads();
    const int row = first_row_ + thread_ / 8;
    SlabRow slabs{shared_ + (copy_to_ - base_), kDepth, kStageBytes, kRows * 128,
                  steps_ * kDepth};
    // Each column of blocks computes the same; the first keeps it, for the residual.
    HalfBits* out = blockIdx.x != 0 || row >= tokens_
                        ? nullptr
                        : params_.x_out + static_cast<size_t>(row) * params_.inputs + thread_ % 8 * 8;
    const float* scale = reinterpret_cast<const float*>(shared_ + kNormedAt) + thread_ % 8 * 8;
    normalise_slabs(slabs, static_cast<float>(params_.inputs), params_.epsilon, scale,
                    scale + kNormedInputsMax, out);
  }

  template <int kTileRows>
  __device__ void load_rows(const HalfBits* from, uint32_t to) const {
#pragma unroll
    for (int slab = 0; slab < kDepth; ++slab) {
#pragma unroll
      for (int i = 0; i < (kTileRows + kRowsAtOnce - 1) / kRowsAtOnce; ++i) {
        if (kTileRows % kRowsAtOnce == 0 || thread_ / 8 + i * kRowsAtOnce < kTileRows) {
          copy16(to + static_cast<uint32_t>((slab * kTileRows + i * kRowsAtOnce) * 128),
                 from + slab * 64 + i * rows_stride_);
        }
      }
    }
  }
  __device__ void load_x(int step) const {
    load_rows<kRows>(x_from_ + step * (64 * kDepth), copy_to_ + slot_of(step));
  }
  __device__ void load_weight(int step) const {
    load_rows<kColumns>(weight_from_ + step * (64 * kDepth),
                        copy_to_ + slot_of(step) + kRows * 128 * kDepth);
  }
  __device__ static uint32_t slot_of(int step) {
    return static_cast<uint32_t>(step % kStages) * kStageBytes;
  }
  __device__ void load_residual(int half) const {
    constexpr int kParts = kColumns / 8;
    for (int i = thread_; i < kSlotRows * kParts; i += kThreads) {
      const int row = half * kSlotRows + i / kParts;
      const int part = i % kParts;
      copy16(shared_address(tile_row(row)) + static_cast<uint32_t>(part * 16),
             params_.residual + static_cast<size_t>(first_row_ + row) * params_.outputs +
                 first_column_ + part * 8);
    }
  }
  // Fills the stage that the step before this one has left. After the last step comes the residual.
  __device__ void load_ahead(int step) {
    if (step < steps_) {
      load_weight(step);
      load_x(step);
    } else if (kAddsResidual) {
      const int first = max(steps_, kStages - 1);
      tile_slot_ = first % kStages;
      if (step - first < kTileSlots) load_residual(step - first);
    }
    copies_commit();
  }

  __device__ void multiply(int slot) {
    multiply_stage<kM, kN, 4 * kDepth / kWarpsK, kWarpsK>(
        sums_, stage(slot) + x_row_, stage(slot) + weight_row_, x_part_, weight_part_,
        kRows * 128, kColumns * 128);
  }

  // Four warps multiply 64 rows with all columns, straight from shared memory.
  __device__ void multiply_wide(int slot) {
    static_assert(!kWide || (kM == 1 && kWarpsN == 1 && kWarpsK == 1 && kDepth == 1));
    const uint64_t x = matrix_descriptor(stage(slot) + static_cast<uint32_t>(warp_ / 4 * 64 * 128));
    const uint64_t weight = matrix_descriptor(stage(slot) + kRows * 128);
    wide_begin();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      WideProduct<kColumns>::multiply_add(sums_[0], x + 2 * i, weight + 2 * i);
    }
    wide_end();
  }

  // Adds the sums of all warps along the inputs into those of the first.
  __device__ void add_up() {
    add_warps<kM, kN, kWarpsK, kWarpsM * kWarpsN>(
        sums_, reinterpret_cast<float*>(shared_ + (tile_slot_ + 1) % kStages * kStageBytes),
        warp_k_, warp_m_ * kWarpsN + warp_n_, lane_);
  }

  // Adds up what the warps along the inputs have summed, four columns of a row per thread at a time,
  // and stores that: a short way for small tiles.
  __device__ void finish_split() {
    constexpr int kFloats = kSplitFloats<kColumns>;
    constexpr int kPart = kRows * kFloats;
    static_assert(!kSplit || kWarpsK * kPart * 4 <= kStages * kStageBytes);
    float* parts = reinterpret_cast<float*>(shared_);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        float* to = parts + warp_k_ * kPart + row_of(m) * kFloats + column_of(n);
        *reinterpret_cast<float2*>(to) = {sums_[m][n][0], sums_[m][n][1]};
        *reinterpret_cast<float2*>(to + 8 * kFloats) = {sums_[m][n][2], sums_[m][n][3]};
      }
    }
    __syncthreads();
    store_split<kRows, kColumns, kWarpsK, kThreads, kEpilogue>(
        params_, parts, constants(), first_row_, first_column_, tokens_);
  }

  __device__ void finish() {
    if (warp_k_ == 0) {
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < kN; ++n) finish_sums(m, n);
      }
    }
    if constexpr (kNorm) {
      exchange_statistics();
      if (warp_k_ == 0) normalise();
    }
    __syncthreads();
    store();
  }
  // The place of sums_[m][n][0] and [1] in the tile; [2] and [3] are eight rows below.
  __device__ int row_of(int m) const { return warp_m_ * kWarpRows + m * 16 + lane_ / 4; }
  __device__ int column_of(int n) const {
    return warp_n_ * kWarpColumns + n * 8 + lane_ % 4 * 2;
  }
  __device__ unsigned char* tile_row(int row) const {
    const int slot = kTileSlots == 1 ? tile_slot_ : (tile_slot_ + row / kSlotRows) % kStages;
    return shared_ + slot * kStageBytes + row % kSlotRows * kPitch;
  }
  __device__ uint32_t* word(int row, int column) const {
    return reinterpret_cast<uint32_t*>(tile_row(row) + column * 2);
  }
  __device__ void finish_sums(int m, int n) {
    float(&s)[4] = sums_[m][n];
    const int column = column_of(n);
    const float2 bias = *reinterpret_cast<const float2*>(constants() + column);
#pragma unroll
    for (int i = 0; i < 4; ++i) s[i] += i % 2 == 0 ? bias.x : bias.y;
    if constexpr (kEpilogue == Epilogue::kGelu) {
#pragma unroll
      for (int i = 0; i < 4; ++i) s[i] = gelu(s[i]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      uint32_t* at = word(row_of(m) + 8 * i, column);
      if constexpr (kAddsResidual) {
        const float2 residual = unpack(*at);
        s[2 * i] += residual.x;
        s[2 * i + 1] += residual.y;
      }
      if constexpr (!kNorm) *at = pack(s[2 * i], s[2 * i + 1]);
    }
  }

  // Each warp tells every block of the cluster the mean of its part of a row and the squares around
  // that mean: these can be merged without the cancellation of plain sums of squares.
  __device__ void exchange_statistics() {
    cluster_wait();  // every block has started, so that its memory is there
    if (warp_k_ == 0) {
      const uint32_t blocks = cluster_size();
      const uint32_t part = cluster_rank() * kWarpsN + static_cast<uint32_t>(warp_n_);
#pragma unroll
      for (int i = 0; i < 2 * kM; ++i) {
        float sum = 0;
#pragma unroll
        for (int n = 0; n < kN; ++n) sum += value(i, n, 0) + value(i, n, 1);
        const float mean = quad_sum(sum) * (1.0F / kWarpColumns);
        float squares = 0;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          const float a = value(i, n, 0) - mean;
          const float b = value(i, n, 1) - mean;
          squares += a * a + b * b;
        }
        squares = quad_sum(squares);
        const int row = row_of(i / 2) + i % 2 * 8;
        const uint32_t to =
            base_ + kStatisticsAt + (part * kRows + static_cast<uint32_t>(row)) * 8;
        for (uint32_t peer = lane_ % 4; peer < blocks; peer += 4) {
          store_to_peer(to, peer, mean, squares);
        }
      }
    }
    cluster_arrive();
    cluster_wait();
  }
  __device__ float value(int i, int n, int j) const { return sums_[i / 2][n][i % 2 * 2 + j]; }
  __device__ static float quad_sum(float value) {
    value += __shfl_xor_sync(0xffffffffU, value, 1);
    return value + __shfl_xor_sync(0xffffffffU, value, 2);
  }
  __device__ void normalise() {
    const int parts = static_cast<int>(cluster_size()) * kWarpsN;
    const float2* statistics = reinterpret_cast<const float2*>(shared_ + kStatisticsAt);
#pragma unroll
    for (int i = 0; i < 2 * kM; ++i) {
      const int row = row_of(i / 2) + i % 2 * 8;
      float mean = 0;
      float squares = 0;
      for (int part = 0; part < parts; ++part) mean += statistics[part * kRows + row].x;
      mean /= static_cast<float>(parts);
      for (int part = 0; part < parts; ++part) {
        const float2 s = statistics[part * kRows + row];
        squares += s.y + kWarpColumns * (s.x - mean) * (s.x - mean);
      }
      const float variance = squares / static_cast<float>(params_.outputs);
      const float factor = rsqrtf(variance + params_.epsilon);
#pragma unroll
      for (int n = 0; n < kN; ++n) {
        const int column = column_of(n);
        const float2 scale = *reinterpret_cast<const float2*>(constants() + kColumns + column);
        const float2 shift = *reinterpret_cast<const float2*>(constants() + 2 * kColumns + column);
        *word(row, column) = pack((value(i, n, 0) - mean) * factor * scale.x + shift.x,
                                        (value(i, n, 1) - mean) * factor * scale.y + shift.y);
      }
    }
  }

  __device__ void store() const {
    constexpr int kParts = kColumns / 8;
    for (int i = thread_; i < kRows * kParts; i += kThreads) {
      const int row = i / kParts;
      const int part = i % kParts;
      if (first_row_ + row >= tokens_) return;  // later parts have later rows
      *reinterpret_cast<uint4*>(params_.out +
                                static_cast<size_t>(first_row_ + row) * params_.outputs +
                                first_column_ + part * 8) =
          *reinterpret_cast<const uint4*>(tile_row(row) + part * 16);
    }
  }

  const GemmParams& params_;
  unsigned char* shared_;
  uint32_t base_;
  int thread_, lane_, warp_, warp_n_, warp_m_, warp_k_;
  int first_row_, first_column_, steps_;
  // Where this thread's copies come from and go to, and where its matrices start.
  const HalfBits* x_from_;
  const HalfBits* weight_from_;
  uint32_t copy_to_, x_row_, x_part_, weight_row_, weight_part_;
  int rows_stride_;
  int tokens_ = 0;
  int tile_slot_ = 0;
  float sums_[kM][kN][4] = {};
};

}  // namespace sluice::device
