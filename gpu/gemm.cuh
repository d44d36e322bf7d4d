// SPDX-License-Identifier: Apache-2.0
#pragma once
// A tile of out = x * weight^T with what comes after it. Operands stream through shared memory in
// `stages` steps; rows there are 128 bytes whose 16-byte parts are permuted by the row's number, so
// that neither the copies in nor the matrix loads out meet in a bank.

#include "gpu/device_tools.cuh"
#include "gpu/gemm_tiles.h"

namespace sluice::device {

enum class Epilogue { kBias, kGelu, kResidual, kNorm };

// GELU with the error function itself, not its tanh relative: a polynomial for erf(v / sqrt 2) / v
// over |v| <= 5, beyond which erf is one in 16 bits. At most 2e-6 from the true value.
__device__ __forceinline__ float gelu(float value) {
  const float v = fminf(fmaxf(value, -5.0F), 5.0F);
  const float u = fmaf(v * v, 0.08F, -1.0F);
  float p = 0.0014707527589052916F;
  p = fmaf(p, u, -0.003353461856022477F);
  p = fmaf(p, u, 0.0027491922955960035F);
  p = fmaf(p, u, -0.005053833592683077F);
  p = fmaf(p, u, 0.01353305485099554F);
  p = fmaf(p, u, -0.02261424995958805F);
  p = fmaf(p, u, 0.03247217833995819F);
  p = fmaf(p, u, -0.046426255255937576F);
  p = fmaf(p, u, 0.06295351684093475F);
  p = fmaf(p, u, -0.08090256154537201F);
  p = fmaf(p, u, 0.10303585976362228F);
  p = fmaf(p, u, -0.1405918151140213F);
  p = fmaf(p, u, 0.2827276289463043F);
  const float half = 0.5F * value;
  return fmaf(half, p * v, half);
}

// T is a type with a constexpr GemmTile `kTile`.
template <typename T, Epilogue kEpilogue>
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
        steps_(static_cast<int>(params.inputs) / (64 * kDepth)) {}

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
    for (int step = 0; step < steps_; ++step) {
      copies_wait<kStages - 2>();
      __syncthreads();
      load_ahead(step + kStages - 1);
      multiply(step % kStages);
    }
    copies_wait<0>();
    __syncthreads();
    if constexpr (kTile.warps_k > 1) add_up();
    finish();
  }

 private:
  static constexpr bool kNorm = kEpilogue == Epilogue::kNorm;
  static constexpr bool kAddsResidual = kNorm || kEpilogue == Epilogue::kResidual;
  static constexpr int kRows = kTile.rows, kColumns = kTile.columns, kDepth = kTile.depth;
  static constexpr int kStages = kTile.stages;
  static constexpr int kWarpsM = kTile.warps_m, kWarpsN = kTile.warps_n, kWarpsK = kTile.warps_k;
  static constexpr int kWarpRows = kRows / kWarpsM, kWarpColumns = kColumns / kWarpsN;
  static constexpr int kM = kWarpRows / 16, kN = kWarpColumns / 8;
  static constexpr int kStageBytes = kTile.stage_bytes();
  static constexpr int kConstantsAt = kStages * kStageBytes;
  static constexpr int kStatisticsAt = kConstantsAt + 3 * kColumns * 4;
  // The residual's rows, later the result's, in the memory of one stage; padded where it fits.
  static constexpr int kPitch =
      kRows * (2 * kColumns + 16) <= kStageBytes ? 2 * kColumns + 16 : 2 * kColumns;
  static_assert(kM * 16 * kWarpsM == kRows && kN * 8 * kWarpsN == kColumns && kN % 2 == 0);
  static_assert(4 * kDepth % kWarpsK == 0, "each warp has a part of every step");
  static_assert(kRows * kPitch <= kStageBytes && kStages >= 2);
  static_assert((kWarpsK - 1) * kRows * kColumns * 4 <= kStageBytes, "add_up() uses one stage");

  __device__ uint32_t stage(int index) const {
    return base_ + static_cast<uint32_t>(index) * kStageBytes;
  }
  // Address of 16-byte part `part` (0..7) of a row.
  __device__ static uint32_t part_at(uint32_t base, int row, int part) {
    return base + static_cast<uint32_t>(row * 128 + ((part ^ (row & 7)) * 16));
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
  }

  template <int kTileRows>
  __device__ void load_rows(const HalfBits* from, int first, int step, uint32_t to) const {
    constexpr int kParts = kTileRows * 8 * kDepth;
#pragma unroll
    for (int i = thread_; i < kParts; i += kThreads) {
      const int part = i % 8;
      const int row = i / 8 % kTileRows;
      const int slab = i / 8 / kTileRows;
      const HalfBits* source = from + static_cast<size_t>(first + row) * params_.inputs +
                               (step * kDepth + slab) * 64 + part * 8;
      copy16(part_at(to + static_cast<uint32_t>(slab * kTileRows * 128), row, part), source);
    }
  }
  __device__ void load_x(int step) const {
    load_rows<kRows>(params_.x, first_row_, step, stage(step % kStages));
  }
  __device__ void load_weight(int step) const {
    load_rows<kColumns>(params_.weight, first_column_, step,
                        stage(step % kStages) + kRows * 128 * kDepth);
  }
  __device__ void load_residual(int slot) {
    residual_slot_ = slot;
    constexpr int kParts = kColumns / 8;
    for (int i = thread_; i < kRows * kParts; i += kThreads) {
      const int row = i / kParts;
      const int part = i % kParts;
      copy16(stage(slot) + static_cast<uint32_t>(row * kPitch + part * 16),
             params_.residual + static_cast<size_t>(first_row_ + row) * params_.outputs +
                 first_column_ + part * 8);
    }
  }
  // Fills the stage that the step before this one has left. After the last step comes the residual.
  __device__ void load_ahead(int step) {
    if (step < steps_) {
      load_weight(step);
      load_x(step);
    } else if (kAddsResidual && step == max(steps_, kStages - 1)) {
      load_residual(step % kStages);
    }
    copies_commit();
  }

  __device__ void multiply(int slot) {
    constexpr int kSteps16 = 4 * kDepth / kWarpsK;
#pragma unroll
    for (int i = 0; i < kSteps16; ++i) {
      const int at = i * kWarpsK + warp_k_;  // in 16 inputs of this stage
      const uint32_t x = stage(slot) + static_cast<uint32_t>(at / 4 * kRows * 128);
      const uint32_t weight = stage(slot) + static_cast<uint32_t>(kRows * 128 * kDepth +
                                                                  at / 4 * kColumns * 128);
      const int part = at % 4 * 2;
      uint32_t a[kM][4];
      uint32_t b[kN / 2][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        const int row = warp_m_ * kWarpRows + m * 16 + lane_ % 16;
        load_matrices(a[m], part_at(x, row, part + lane_ / 16));
      }
#pragma unroll
      for (int n = 0; n < kN / 2; ++n) {
        const int row = warp_n_ * kWarpColumns + n * 16 + lane_ / 16 * 8 + lane_ % 8;
        load_matrices(b[n], part_at(weight, row, part + lane_ / 8 % 2));
      }
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          multiply_add(sums_[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
        }
      }
    }
  }

  // Adds the sums of all warps along the inputs into those of the first.
  __device__ void add_up() {
    float* parts = reinterpret_cast<float*>(shared_ + (residual_slot_ + 1) % kStages * kStageBytes);
    constexpr int kSums = kM * kN * 4;
    const int place = warp_m_ * kWarpsN + warp_n_;
    constexpr int kPlaces = kWarpsM * kWarpsN;
    if (warp_k_ > 0) {
      float* to = parts + ((warp_k_ - 1) * kPlaces + place) * kSums * 32 + lane_;
#pragma unroll
      for (int i = 0; i < kSums; ++i) to[i * 32] = sums_[i / 4 / kN][i / 4 % kN][i % 4];
    }
    __syncthreads();
    if (warp_k_ > 0) return;
#pragma unroll
    for (int k = 0; k < kWarpsK - 1; ++k) {
      const float* from = parts + (k * kPlaces + place) * kSums * 32 + lane_;
#pragma unroll
      for (int i = 0; i < kSums; ++i) sums_[i / 4 / kN][i / 4 % kN][i % 4] += from[i * 32];
    }
  }

  __device__ void finish() {
    unsigned char* tile = shared_ + residual_slot_ * kStageBytes;
    if (warp_k_ == 0) {
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int n = 0; n < kN; ++n) finish_sums(tile, m, n);
      }
    }
    if constexpr (kNorm) {
      exchange_statistics();
      if (warp_k_ == 0) normalise(tile);
    }
    __syncthreads();
    store(tile);
  }
  // The place of sums_[m][n][0] and [1] in the tile; [2] and [3] are eight rows below.
  __device__ int row_of(int m) const { return warp_m_ * kWarpRows + m * 16 + lane_ / 4; }
  __device__ int column_of(int n) const {
    return warp_n_ * kWarpColumns + n * 8 + lane_ % 4 * 2;
  }
  __device__ static uint32_t* word(unsigned char* tile, int row, int column) {
    return reinterpret_cast<uint32_t*>(tile + row * kPitch + column * 2);
  }
  __device__ void finish_sums(unsigned char* tile, int m, int n) {
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
      uint32_t* at = word(tile, row_of(m) + 8 * i, column);
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
  __device__ void normalise(unsigned char* tile) {
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
        *word(tile, row, column) = pack((value(i, n, 0) - mean) * factor * scale.x + shift.x,
                                        (value(i, n, 1) - mean) * factor * scale.y + shift.y);
      }
    }
  }

  __device__ void store(const unsigned char* tile) const {
    constexpr int kParts = kColumns / 8;
    for (int i = thread_; i < kRows * kParts; i += kThreads) {
      const int row = i / kParts;
      const int part = i % kParts;
      if (first_row_ + row >= tokens_) return;  // later parts have later rows
      *reinterpret_cast<uint4*>(params_.out +
                                static_cast<size_t>(first_row_ + row) * params_.outputs +
                                first_column_ + part * 8) =
          *reinterpret_cast<const uint4*>(tile + row * kPitch + part * 16);
    }
  }

  const GemmParams& params_;
  unsigned char* shared_;
  uint32_t base_;
  int thread_, lane_, warp_, warp_n_, warp_m_, warp_k_;
  int first_row_, first_column_, steps_;
  int tokens_ = 0;
  int residual_slot_ = 0;
  float sums_[kM][kN][4] = {};
};

}  // namespace sluice::device
