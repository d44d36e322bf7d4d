// SPDX-License-Identifier: Apache-2.0
#pragma once
// Layer norm for any vector width. Mean first, then the squares around it: a row stays in the
// first-level cache, so the second pass is cheap, and squares of large means would cost digits.

#include "backends/kernels.h"
#include "backends/kernels_simd.h"

namespace sluice {

// REQUIRES of Tag: kLanes.
template <typename Tag>
struct LayerNorm {
  using S = Simd<Tag>;
  using Float = typename S::Float;
  static constexpr size_t kLanes = S::kLanes;

  // Kernels::layer_norm.
  static void run(const NormShape& shape, float* x, const float* scale, const float* shift,
                  uint16_t* rounded) {
    for (size_t row = 0; row < shape.rows; ++row) {
      float* values = x + row * shape.width;
      normalize(shape, values, scale, shift);
      if (rounded == nullptr) continue;
      uint16_t* to = rounded + row * shape.width;
      for (size_t i = 0; i < shape.width; ++i) to[i] = round_to_bf16<Tag>(values[i]);
    }
  }

 private:
  static void normalize(const NormShape& shape, float* x, const float* scale, const float* shift) {
    const auto width = static_cast<float>(shape.width);
    Float sum0 = {};
    Float sum1 = {};
    for (size_t i = 0; i < shape.width; i += 2 * kLanes) {
      sum0 += S::load(x + i);
      sum1 += S::load(x + i + kLanes);
    }
    const Float mean = S::all(S::sum(sum0 + sum1) / width);
    Float square0 = {};
    Float square1 = {};
    for (size_t i = 0; i < shape.width; i += 2 * kLanes) {
      const Float a = S::load(x + i) - mean;
      const Float b = S::load(x + i + kLanes) - mean;
      square0 += a * a;
      square1 += b * b;
    }
    const float variance = S::sum(square0 + square1) / width;
    const Float inverse = S::all(1.0F / __builtin_sqrtf(variance + shape.epsilon));
    for (size_t i = 0; i < shape.width; i += kLanes) {
      const Float centred = (S::load(x + i) - mean) * inverse;
      S::store(x + i, centred * S::load(scale + i) + S::load(shift + i));
    }
  }
};

}  // namespace sluice
