// SPDX-License-Identifier: Apache-2.0
#pragma once
// Float32 matrix products for any vector width, with weights packed in panels.
//
// A panel is as many columns of outputs as a few vectors hold, row after row of inputs, so that
// the innermost loop reads it straight through. A block of rows times a panel is summed in
// registers and finished (bias, GELU, residual) before it is stored. With few rows every weight is
// used once and must come from memory. So the loop asks for lines long before it needs them, some
// rows ahead and, one line per row, in the next panel: memory works while the sums are made instead
// of before.

#include "backends/kernels.h"
#include "backends/kernels_simd.h"

namespace sluice {

// REQUIRES of Tag: kLanes, and the block of sums that fits its registers, kGemmRows rows of
// kGemmVectors vectors.
template <typename Tag>
struct Gemm {
  using S = Simd<Tag>;
  using Float = typename S::Float;
  static constexpr size_t kLanes = S::kLanes;
  static constexpr size_t kVectors = Tag::kGemmVectors;
  static constexpr size_t kRows = Tag::kGemmRows;
  static constexpr size_t kPanel = kLanes * kVectors;
  // How far ahead weights are asked for: longer than memory takes to answer.
  // Floats in a line of the cache.
  static constexpr size_t kLine = 64 / sizeof(float);
  static constexpr size_t kAhead = 8192 / sizeof(float);

  // Kernels::product.
  static void run(const ProductShape& shape, const float* x, const float* packed, const float* bias,
                  float* y) {
    switch (shape.finish) {
      case Finish::kBias:
        return run<Finish::kBias>(shape, x, packed, bias, y);
      case Finish::kGelu:
        return run<Finish::kGelu>(shape, x, packed, bias, y);
      case Finish::kBiasAdd:
        return run<Finish::kBiasAdd>(shape, x, packed, bias, y);
    }
  }

  // x / 2 * (1 + erf(x / sqrt 2)) by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7.
  static Float gelu(Float x) {
    const Float half = x * 0.5F;
    const Float z = S::magnitude(x) * 0.70710678F;
    const Float t = S::all(1.0F) / (z * 0.3275911F + 1.0F);
    Float p = t * 1.061405429F - 1.453152027F;
    p = p * t + 1.421413741F;
    p = p * t - 0.284496736F;
    p = (p * t + 0.254829592F) * t;
    // The tail of erf: its sign is x's, and half * erf is always positive.
    const Float tail = p * S::exp2(z * z * -1.44269504F);
    return half + S::magnitude(half) * (1.0F - tail);
  }

 private:
  template <Finish kFinish>
  static void run(const ProductShape& shape, const float* x, const float* packed, const float* bias,
                  float* y) {
    for (size_t column = 0; column < shape.outputs; column += kPanel) {
      const float* panel = packed + column * shape.inputs;
      const float* next = panel + kPanel * shape.inputs;
      size_t row = 0;
      for (; row + kRows <= shape.rows; row += kRows) {
        block<kRows, kFinish>(shape, x + row * shape.inputs, panel, next, bias + column,
                              y + row * shape.outputs + column, shape.outputs - column);
        next += kLine * shape.inputs;
      }
      rest<kRows - 1, kFinish>(shape, shape.rows - row, x + row * shape.inputs, panel, next,
                               bias + column, y + row * shape.outputs + column,
                               shape.outputs - column);
    }
  }

  // The last rows, fewer than a block: the same code for each smaller number.
  template <size_t kCount, Finish kFinish>
  static void rest(const ProductShape& shape, size_t count, const float* x, const float* panel,
                   const float* next, const float* bias, float* y, size_t columns) {
    if constexpr (kCount > 0) {
      if (count == kCount) return block<kCount, kFinish>(shape, x, panel, next, bias, y, columns);
      return rest<kCount - 1, kFinish>(shape, count, x, panel, next, bias, y, columns);
    }
  }

  template <size_t kCount, Finish kFinish>
  static void block(const ProductShape& shape, const float* x, const float* panel,
                    const float* next, const float* bias, float* y, size_t columns) {
    Float sums[kCount][kVectors] = {};
    for (size_t k = 0; k < shape.inputs; ++k, panel += kPanel, next += kLine) {
      __builtin_prefetch(next, 0, 2);
      Float weights[kVectors];
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) {
        weights[v] = S::load(panel + v * kLanes);
        __builtin_prefetch(panel + kAhead + v * kLanes);
      }
#pragma GCC unroll 8
      for (size_t r = 0; r < kCount; ++r) {
        const Float value = S::all(x[r * shape.inputs + k]);
#pragma GCC unroll 4
        for (size_t v = 0; v < kVectors; ++v) sums[r][v] += value * weights[v];
      }
    }
    // The last panel may be wider than what is left of the outputs.
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      if (v * kLanes >= columns) break;
      const Float shift = S::load(bias + v * kLanes);
#pragma GCC unroll 8
      for (size_t r = 0; r < kCount; ++r) {
        float* to = y + r * shape.outputs + v * kLanes;
        Float sum = sums[r][v] + shift;
        if constexpr (kFinish == Finish::kGelu) sum = gelu(sum);
        if constexpr (kFinish == Finish::kBiasAdd) sum += S::load(to);
        S::store(to, sum);
      }
    }
  }
};

}  // namespace sluice
