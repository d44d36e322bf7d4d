// SPDX-License-Identifier: Apache-2.0
#pragma once
// The number formats of PTX that C++ does not have: binary16 and bfloat16, and rounding of a
// double into them in one step. All of it is bit-exact and free of branches where loops over lanes
// run through it, so that compilers turn those loops into vector instructions.

#include <bit>
#include <cmath>
#include <cstdint>

namespace sluice::ptx {

// A binary16 or bfloat16 as a kernel's register holds it.
struct Half {
  uint16_t bits = 0;
};
struct Bfloat {
  uint16_t bits = 0;
};

// The exact value of a binary16. Its exponent is corrected by a product, which is exact for
// subnormal numbers too.
inline float to_float(Half half) {
  const uint32_t sign = static_cast<uint32_t>(half.bits & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(half.bits & 0x7fffu) << 13;
  const uint32_t scaled = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(sign | scaled | special);
}

inline float to_float(Bfloat value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

// Rounds to nearest, ties to even; every NaN becomes 0x7fff, as cvt.f16.f32 has it.
inline Half to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14 the sum with 1/2 leaves the rounded subnormal in the low bits.
  const uint32_t small =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  uint32_t result = magnitude < 0x38800000u ? small : normal;
  result = magnitude >= 0x47800000u ? 0x7c00u : result;
  result |= sign;
  result = magnitude > 0x7f800000u ? 0x7fffu : result;
  return Half{static_cast<uint16_t>(result)};
}

// Rounds to nearest, ties to even; every NaN becomes 0x7fff.
inline Bfloat to_bfloat(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return Bfloat{static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : rounded)};
}

// `value` as a float whose last bit is set if anything was lost ("round to odd"). Rounding that to
// a format of at most 22 bits gives what rounding `value` itself gives.
inline float to_odd_float(double value) {
  const float near = static_cast<float>(value);
  uint32_t bits = std::bit_cast<uint32_t>(near);
  if (static_cast<double>(near) == value || std::isnan(value)) return near;
  if (std::abs(static_cast<double>(near)) > std::abs(value)) --bits;
  return std::bit_cast<float>(bits | 1u);
}

// The sum as a double whose last bit is set if anything was lost.
inline double add_to_odd(double a, double b) {
  const double sum = a + b;
  if (!std::isfinite(sum)) return sum;
  const double b_part = sum - a;
  const double lost = (a - (sum - b_part)) + (b - b_part);
  if (lost == 0.0 || (std::bit_cast<uint64_t>(sum) & 1u) != 0) return sum;
  return std::nextafter(sum, lost > 0 ? INFINITY : -INFINITY);
}

// One rounding from double.
inline Half to_half(double value) { return to_half(to_odd_float(value)); }
inline Bfloat to_bfloat(double value) { return to_bfloat(to_odd_float(value)); }

// How a result is rounded; the modifiers .rn .rz .rm .rp of PTX.
enum class Rounding : uint8_t { kNearest, kZero, kDown, kUp };

// `value` rounded to a whole number.
inline double round_whole(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::kZero:
      return std::trunc(value);
    case Rounding::kDown:
      return std::floor(value);
    case Rounding::kUp:
      return std::ceil(value);
    case Rounding::kNearest:
      break;
  }
  return std::nearbyint(value);
}

// `nearest` is `exact` rounded to nearest in some format; gives the neighbour that `rounding` asks
// for. `Down(x)` and `up(x)` step to the next number of the format.
template <class T, class Step>
T redirect(T nearest, double nearest_value, double exact, Rounding rounding, Step step) {
  if (nearest_value == exact || std::isnan(exact)) return nearest;
  const bool above = nearest_value > exact;
  switch (rounding) {
    case Rounding::kZero:
      return std::abs(nearest_value) > std::abs(exact) ? step(nearest, exact < 0) : nearest;
    case Rounding::kDown:
      return above ? step(nearest, false) : nearest;
    case Rounding::kUp:
      return above ? nearest : step(nearest, true);
    case Rounding::kNearest:
      break;
  }
  return nearest;
}

// The next 16-bit float above (`up`) or below; works for binary16 and bfloat16 alike.
inline uint16_t step_16(uint16_t bits, bool up) {
  if ((bits & 0x7fffu) == 0) return static_cast<uint16_t>(up ? 0x0001u : 0x8001u);
  const bool negative = (bits & 0x8000u) != 0;
  return static_cast<uint16_t>(negative == up ? bits - 1u : bits + 1u);
}

inline float to_float(double value, Rounding rounding) {
  const float near = static_cast<float>(value);
  return redirect(near, static_cast<double>(near), value, rounding,
                  [](float x, bool up) { return std::nextafter(x, up ? INFINITY : -INFINITY); });
}
inline Half to_half(double value, Rounding rounding) {
  const Half near = to_half(value);
  return redirect(near, static_cast<double>(to_float(near)), value, rounding,
                  [](Half x, bool up) { return Half{step_16(x.bits, up)}; });
}
inline Bfloat to_bfloat(double value, Rounding rounding) {
  const Bfloat near = to_bfloat(value);
  return redirect(near, static_cast<double>(to_float(near)), value, rounding,
                  [](Bfloat x, bool up) { return Bfloat{step_16(x.bits, up)}; });
}

}  // namespace sluice::ptx
