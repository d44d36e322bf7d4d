// SPDX-License-Identifier: Apache-2.0
#pragma once
// What comes after a product's sums.

#include "gpu/device_tools.cuh"

namespace sluice::device {

// Bias; bias and GELU; bias and residual; bias, residual and layer norm.
enum class Epilogue { kBias, kGelu, kResidual, kNorm };

// GELU with the error function itself, not its tanh relative: v * (1 + erf(v / sqrt 2)) / 2. The
// last factor less a half is v times a polynomial of v^2 for |v| <= 5; beyond, it is one or nothing
// in 16 bits, and cut off there. At most 2e-6 from the true value.
__device__ __forceinline__ float gelu(float v) {
  const float u = fmaf(fminf(v * v, 25.0F), 0.08F, -1.0F);
  float p = 7.353763795e-04F;
  p = fmaf(p, u, -1.676730928e-03F);
  p = fmaf(p, u, 1.374596148e-03F);
  p = fmaf(p, u, -2.526916796e-03F);
  p = fmaf(p, u, 6.766527425e-03F);
  p = fmaf(p, u, -1.130712498e-02F);
  p = fmaf(p, u, 1.623608917e-02F);
  p = fmaf(p, u, -2.321312763e-02F);
  p = fmaf(p, u, 3.147675842e-02F);
  p = fmaf(p, u, -4.045128077e-02F);
  p = fmaf(p, u, 5.151792988e-02F);
  p = fmaf(p, u, -7.029590756e-02F);
  p = fmaf(p, u, 1.413638145e-01F);
  return v * __saturatef(fmaf(v, p, 0.5F));
}

// Floats of a row of partial sums in shared memory, with room so that rows do not share banks.
template <int kColumns>
inline constexpr int kSplitFloats = kColumns + 4;

// Adds up `kParts` tiles of partial sums and stores the result, four columns of a row per thread at a
// time: a short way for small tiles.
template <int kRows, int kColumns, int kParts, int kThreads, Epilogue kEpilogue>
__device__ __forceinline__ void store_split(const GemmParams& params, const float* parts,
                                            const float* bias, int first_row, int first_column,
                                            int tokens) {
  constexpr int kFloats = kSplitFloats<kColumns>;
  constexpr int kQuads = kColumns / 4;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kQuads; i += kThreads) {
    const int row = i / kQuads;
    const int column = i % kQuads * 4;
    if (first_row + row >= tokens) break;  // later ones have later rows
    const size_t at =
        static_cast<size_t>(first_row + row) * params.outputs + first_column + column;
    uint2 residual = {0, 0};
    if constexpr (kEpilogue == Epilogue::kResidual) {
      residual = *reinterpret_cast<const uint2*>(params.residual + at);
    }
    float4 sum = *reinterpret_cast<const float4*>(bias + column);
#pragma unroll
    for (int k = 0; k < kParts; ++k) {
      const float4 part =
          *reinterpret_cast<const float4*>(parts + (k * kRows + row) * kFloats + column);
      sum = {sum.x + part.x, sum.y + part.y, sum.z + part.z, sum.w + part.w};
    }
    if constexpr (kEpilogue == Epilogue::kGelu) {
      sum = {gelu(sum.x), gelu(sum.y), gelu(sum.z), gelu(sum.w)};
    }
    if constexpr (kEpilogue == Epilogue::kResidual) {
      const float2 a = unpack(residual.x);
      const float2 b = unpack(residual.y);
      sum = {sum.x + a.x, sum.y + a.y, sum.z + b.x, sum.w + b.y};
    }
    *reinterpret_cast<uint2*>(params.out + at) = {pack(sum.x, sum.y), pack(sum.z, sum.w)};
  }
}

}  // namespace sluice::device
