// SPDX-License-Identifier: Apache-2.0
#pragma once
// Vectors of floats of any width, and the few operations the kernels need, on the vector extension
// that GCC and Clang share: the compiler lowers a vector to whatever the target has.
//
// Everything is a template over a Tag that each kernels_*.cc defines in its unnamed namespace, so
// that no two files share a symbol: a function compiled for AVX-512 can never be picked by the
// linker to serve the generic file. For the same reason nothing here calls the standard library.

#include <cstddef>
#include <cstdint>

namespace sluice {

// Queries handled together: with two vectors of keys each, twelve sums fit the sixteen registers
// of AVX2, and as many independent chains hide the latency of a multiply-add.
inline constexpr size_t kQueryBlock = 6;
// Keys are padded to a multiple of this, two of the widest vectors.
inline constexpr size_t kKeyPadding = 32;

// The vector types of kLanes 32-bit lanes.
template <size_t kLanes>
struct VectorOf {
  typedef float Float __attribute__((vector_size(kLanes * sizeof(float))));
  typedef uint32_t Bits __attribute__((vector_size(kLanes * sizeof(uint32_t))));
};

// REQUIRES: Tag::kLanes is 4, 8 or 16.
template <typename Tag>
struct Simd {
  static constexpr size_t kLanes = Tag::kLanes;
  using Float = typename VectorOf<kLanes>::Float;
  using Bits = typename VectorOf<kLanes>::Bits;

  // Unaligned.
  [[gnu::always_inline]] static inline Float load(const float* from) {
    Float v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }
  // Unaligned.
  [[gnu::always_inline]] static inline void store(float* to, Float v) {
    __builtin_memcpy(to, &v, sizeof v);
  }
  [[gnu::always_inline]] static inline Float all(float x) { return x - Float{}; }
  [[gnu::always_inline]] static inline Float max(Float a, Float b) { return a > b ? a : b; }

  // Without the sign.
  [[gnu::always_inline]] static inline Float magnitude(Float v) {
    return from_bits(bits_of(v) & 0x7fffffffU);
  }

  // Sum over the lanes.
  [[gnu::always_inline]] static inline float sum(Float v) {
    float lanes[kLanes];
    __builtin_memcpy(lanes, &v, sizeof v);
    for (size_t half = kLanes / 2; half > 0; half /= 2) {
      for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }
  // Maximum over the lanes.
  [[gnu::always_inline]] static inline float largest(Float v) {
    float lanes[kLanes];
    __builtin_memcpy(lanes, &v, sizeof v);
    for (size_t half = kLanes / 2; half > 0; half /= 2) {
      for (size_t i = 0; i < half; ++i) {
        if (lanes[i + half] > lanes[i]) lanes[i] = lanes[i + half];
      }
    }
    return lanes[0];
  }

  // 2^x for x <= 0, relative error below 2e-7; 2^-126 for anything smaller, which a softmax whose
  // largest term is one cannot tell from zero.
  [[gnu::always_inline]] static inline Float exp2(Float x) {
    x = max(x, all(-126.0F));
    // Adding 1.5 * 2^23 leaves the nearest whole number in the low bits of the sum.
    const Float shifted = x + 12582912.0F;
    const Float f = x - (shifted - 12582912.0F);
    Float p = all(1.5353362e-4F);
    p = p * f + 1.3398874e-3F;
    p = p * f + 9.6184374e-3F;
    p = p * f + 5.5503325e-2F;
    p = p * f + 2.4022648e-1F;
    p = p * f + 6.9314720e-1F;
    p = p * f + 1.0F;
    // The whole part goes into the exponent; the shift drops the rest of the sum.
    return from_bits(bits_of(p) + (bits_of(shifted) << 23));
  }

  // The bits of each lane.
  [[gnu::always_inline]] static inline Bits bits_of(Float v) {
    Bits bits;
    __builtin_memcpy(&bits, &v, sizeof bits);
    return bits;
  }
  // The floats with these bits.
  [[gnu::always_inline]] static inline Float from_bits(Bits bits) {
    Float v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
  }
};

// The nearest bfloat16, ties to even; NaN does not occur here.
template <typename Tag>
[[gnu::always_inline]] inline uint16_t round_to_bf16(float x) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace sluice
