// SPDX-License-Identifier: Apache-2.0
// The kernels for AVX-512 with bfloat16 products (vdpbf16ps: two products per lane, summed in
// float32). Layer norm is that of AVX-512 with hardware rounding. See kernels_avx512.cc for the
// pragma.
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(                                                          \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), \
    apply_to = function)
#else
// GCC 12 takes the undefined operand inside its own intrinsics for a mistake of ours.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#endif

#include "backends/attention_simd.h"
#include "backends/gemm_simd.h"
#include "backends/kernels.h"
#include "backends/layer_norm_simd.h"

namespace sluice {
namespace {

struct Avx512Bf16 {
  static constexpr size_t kLanes = 16;
  static constexpr size_t kGemmRows = 8;
  static constexpr size_t kGemmVectors = 3;
};
using S = Simd<Avx512Bf16>;
constexpr size_t kPanel = 32;  // keys, or columns of the values, at a time

// One head of one sequence. A "pair" is two bfloat16 values in one 32-bit lane, the unit of the
// product: two neighbouring columns of a key, or one column of two neighbouring values.
struct Head {
  size_t tokens;
  size_t width;
  size_t padded;  // tokens rounded up to whole panels
  size_t row;     // values from one token's queries to the next one's
  const uint16_t* queries;
  uint32_t* keys;    // [padded / kPanel][width / 2][kPanel] pairs
  uint32_t* values;  // [padded / 2][width] pairs
  float* scores;     // [kQueryBlock][padded]; the weights, as bfloat16, replace them
};

__m512 product(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, __builtin_bit_cast(__m512bh, a), __builtin_bit_cast(__m512bh, b));
}
__m512i all_pairs(const void* from) {
  int pair = 0;
  __builtin_memcpy(&pair, from, sizeof pair);
  return _mm512_set1_epi32(pair);
}

void lay_out_keys(const Head& head, const uint16_t* keys) {
  const size_t pairs = head.width / 2;
  for (size_t j = 0; j < head.padded; ++j) {
    uint32_t* to = head.keys + j / kPanel * kPanel * pairs + j % kPanel;
    if (j < head.tokens) {
      const uint16_t* from = keys + j * head.row;
      for (size_t d = 0; d < pairs; ++d) __builtin_memcpy(to + d * kPanel, from + 2 * d, 4);
    } else {
      for (size_t d = 0; d < pairs; ++d) to[d * kPanel] = 0;
    }
  }
}

void lay_out_values(const Head& head, const uint16_t* values) {
  for (size_t j = 0; j < head.tokens; j += 2) {
    const uint16_t* even = values + j * head.row;
    const uint16_t* odd = even + head.row;
    for (size_t d = 0; d < head.width; d += 16) {
      const __m512i low =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even + d)));
      __m512i high = _mm512_setzero_si512();
      if (j + 1 < head.tokens) {
        high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd + d)));
      }
      _mm512_storeu_si512(head.values + j / 2 * head.width + d,
                          _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
  }
}

void score(const Head& head, const uint16_t* const* query) {
  const size_t pairs = head.width / 2;
  for (size_t j = 0; j < head.padded; j += kPanel) {
    __m512 sums[kQueryBlock][2] = {};
    const uint32_t* panel = head.keys + j * pairs;
    for (size_t d = 0; d < pairs; ++d, panel += kPanel) {
      const __m512i k0 = _mm512_loadu_si512(panel);
      const __m512i k1 = _mm512_loadu_si512(panel + S::kLanes);
#pragma GCC unroll 6
      for (size_t q = 0; q < kQueryBlock; ++q) {
        const __m512i x = all_pairs(query[q] + 2 * d);
        sums[q][0] = product(sums[q][0], x, k0);
        sums[q][1] = product(sums[q][1], x, k1);
      }
    }
#pragma GCC unroll 6
    for (size_t q = 0; q < kQueryBlock; ++q) {
      _mm512_storeu_ps(head.scores + q * head.padded + j, sums[q][0]);
      _mm512_storeu_ps(head.scores + q * head.padded + j + S::kLanes, sums[q][1]);
    }
  }
}

// Scores of one query become weights in bfloat16, in the first half of the same row; returns one
// over their sum.
float soften(const Head& head, float* scores) {
  for (size_t j = head.tokens; j < head.padded; ++j) scores[j] = -1e30F;
  S::Float largest = S::load(scores);
  for (size_t j = S::kLanes; j < head.padded; j += S::kLanes) {
    largest = S::max(largest, S::load(scores + j));
  }
  const S::Float top = S::all(_mm512_reduce_max_ps(__builtin_bit_cast(__m512, largest)));
  S::Float sum = {};
  auto* weights = reinterpret_cast<char*>(scores);
  for (size_t j = 0; j < head.padded; j += S::kLanes) {
    const S::Float e = S::exp2(S::load(scores + j) - top);
    sum += e;
    const __m256bh narrow = _mm512_cvtneps_pbh(__builtin_bit_cast(__m512, e));
    __builtin_memcpy(weights + 2 * j, &narrow, sizeof narrow);
  }
  return 1.0F / _mm512_reduce_add_ps(__builtin_bit_cast(__m512, sum));
}

void weigh(const Head& head, size_t d, const float* inverse, size_t count, uint16_t* context,
           size_t context_row) {
  __m512 sums[kQueryBlock][2] = {};
  const uint32_t* value = head.values + d;
  const auto* weights = reinterpret_cast<const char*>(head.scores);
  for (size_t j = 0; j < head.tokens; j += 2, value += head.width) {
    const __m512i v0 = _mm512_loadu_si512(value);
    const __m512i v1 = _mm512_loadu_si512(value + S::kLanes);
#pragma GCC unroll 6
    for (size_t q = 0; q < kQueryBlock; ++q) {
      const __m512i x = all_pairs(weights + q * head.padded * sizeof(float) + 2 * j);
      sums[q][0] = product(sums[q][0], x, v0);
      sums[q][1] = product(sums[q][1], x, v1);
    }
  }
#pragma GCC unroll 6
  for (size_t q = 0; q < kQueryBlock; ++q) {
    if (q >= count) break;
    const __m512 scale = _mm512_set1_ps(inverse[q]);
    const __m512bh both =
        _mm512_cvtne2ps_pbh(_mm512_mul_ps(sums[q][1], scale), _mm512_mul_ps(sums[q][0], scale));
    __builtin_memcpy(context + q * context_row, &both, sizeof both);
  }
}

void block(const Head& head, size_t first, uint16_t* context, size_t context_row) {
  const uint16_t* query[kQueryBlock];
  for (size_t q = 0; q < kQueryBlock; ++q) {
    const size_t token = first + q < head.tokens ? first + q : head.tokens - 1;
    query[q] = head.queries + token * head.row;
  }
  score(head, query);
  const size_t left = head.tokens - first;
  const size_t count = left < kQueryBlock ? left : kQueryBlock;
  float inverse[kQueryBlock];
  for (size_t q = 0; q < count; ++q) inverse[q] = soften(head, head.scores + q * head.padded);
  for (size_t d = 0; d < head.width; d += kPanel) {
    weigh(head, d, inverse, count, context + d, context_row);
  }
}

void attention_bf16(const AttentionShape& shape, const uint16_t* qkv, uint16_t* context,
                    void* scratch) {
  const size_t hidden = shape.heads * shape.head_width;
  Head head;
  head.tokens = shape.tokens;
  head.width = shape.head_width;
  head.padded = (shape.tokens + kPanel - 1) / kPanel * kPanel;
  head.row = 3 * hidden;
  head.keys = static_cast<uint32_t*>(scratch);
  head.values = head.keys + head.padded * head.width / 2;
  head.scores = reinterpret_cast<float*>(head.values + head.padded * head.width / 2);
  for (size_t h = 0; h < shape.heads; ++h) {
    head.queries = qkv + h * head.width;
    lay_out_keys(head, head.queries + hidden);
    lay_out_values(head, head.queries + 2 * hidden);
    for (size_t first = 0; first < head.tokens; first += kQueryBlock) {
      block(head, first, context + first * hidden + h * head.width, hidden);
    }
  }
}

// Products as in gemm_simd.h, with a pair of inputs where that has one.
using G = Gemm<Avx512Bf16>;

template <Finish kFinish>
void finish(S::Float sum, void* y, size_t at) {
  if constexpr (kFinish == Finish::kBiasAdd) {
    float* to = static_cast<float*>(y) + at;
    S::store(to, sum + S::load(to));
  } else {
    if constexpr (kFinish == Finish::kGelu) sum = G::gelu(sum);
    const __m256bh narrow = _mm512_cvtneps_pbh(__builtin_bit_cast(__m512, sum));
    __builtin_memcpy(static_cast<uint16_t*>(y) + at, &narrow, sizeof narrow);
  }
}

template <size_t kCount, Finish kFinish>
void product_block(const ProductShape& shape, size_t row, size_t column, const uint16_t* x,
                   const uint16_t* panel, const uint16_t* next, const float* bias, void* y) {
  __m512 sums[kCount][G::kVectors] = {};
  x += row * shape.inputs;
  for (size_t k = 0; k < shape.inputs; k += 2, panel += 2 * G::kPanel, next += 2 * G::kLine) {
    __builtin_prefetch(next, 0, 2);
    __m512i weights[G::kVectors];
#pragma GCC unroll 4
    for (size_t v = 0; v < G::kVectors; ++v) {
      weights[v] = _mm512_loadu_si512(panel + 2 * v * S::kLanes);
      __builtin_prefetch(panel + 2 * (G::kAhead + v * S::kLanes));
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < kCount; ++r) {
      const __m512i value = all_pairs(x + r * shape.inputs + k);
#pragma GCC unroll 4
      for (size_t v = 0; v < G::kVectors; ++v) sums[r][v] = product(sums[r][v], value, weights[v]);
    }
  }
#pragma GCC unroll 4
  for (size_t v = 0; v < G::kVectors; ++v) {
    const size_t at = column + v * S::kLanes;
    if (at >= shape.outputs) break;
    const S::Float shift = S::load(bias + at);
#pragma GCC unroll 8
    for (size_t r = 0; r < kCount; ++r) {
      finish<kFinish>(__builtin_bit_cast(S::Float, sums[r][v]) + shift, y,
                      (row + r) * shape.outputs + at);
    }
  }
}

template <size_t kCount, Finish kFinish>
void product_rest(const ProductShape& shape, size_t row, size_t column, const uint16_t* x,
                  const uint16_t* panel, const uint16_t* next, const float* bias, void* y) {
  if constexpr (kCount > 0) {
    if (shape.rows - row == kCount) {
      return product_block<kCount, kFinish>(shape, row, column, x, panel, next, bias, y);
      next += G::kLine * shape.inputs;
    }
    product_rest<kCount - 1, kFinish>(shape, row, column, x, panel, next, bias, y);
  }
}

template <Finish kFinish>
void product_all(const ProductShape& shape, const uint16_t* x, const uint16_t* packed,
                 const float* bias, void* y) {
  for (size_t column = 0; column < shape.outputs; column += G::kPanel) {
    const uint16_t* panel = packed + column * shape.inputs;
    const uint16_t* next = panel + G::kPanel * shape.inputs;
    size_t row = 0;
    for (; row + G::kRows <= shape.rows; row += G::kRows) {
      product_block<G::kRows, kFinish>(shape, row, column, x, panel, next, bias, y);
    }
    product_rest<G::kRows - 1, kFinish>(shape, row, column, x, panel, next, bias, y);
  }
}

void product_bf16(const ProductShape& shape, const uint16_t* x, const uint16_t* packed,
                  const float* bias, void* y) {
  switch (shape.finish) {
    case Finish::kBias:
      return product_all<Finish::kBias>(shape, x, packed, bias, y);
    case Finish::kGelu:
      return product_all<Finish::kGelu>(shape, x, packed, bias, y);
    case Finish::kBiasAdd:
      return product_all<Finish::kBiasAdd>(shape, x, packed, bias, y);
  }
}

void layer_norm(const NormShape& shape, float* x, const float* scale, const float* shift,
                uint16_t* rounded) {
  if (rounded == nullptr) {
    LayerNorm<Avx512Bf16>::run(shape, x, scale, shift, nullptr);
    return;
  }
  for (size_t row = 0; row < shape.rows; ++row) {
    float* values = x + row * shape.width;
    LayerNorm<Avx512Bf16>::run({1, shape.width, shape.epsilon}, values, scale, shift, nullptr);
    for (size_t i = 0; i < shape.width; i += 2 * S::kLanes) {
      const __m512bh both =
          _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + i + S::kLanes), _mm512_loadu_ps(values + i));
      __builtin_memcpy(rounded + row * shape.width + i, &both, sizeof both);
    }
  }
}

}  // namespace

const Kernels& avx512_bf16_kernels() {
  static constexpr Kernels kKernels{
      "avx512-bf16", Gemm<Avx512Bf16>::kPanel,   Gemm<Avx512Bf16>::run,
      product_bf16,  Attention<Avx512Bf16>::run, attention_bf16,
      layer_norm};
  return kKernels;
}

}  // namespace sluice

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
