// SPDX-License-Identifier: Apache-2.0
// mma.sync of m16n8: D = A * B + C, with A of 16 rows and B of 8 columns. Sources are the registers
// of A, then of B, then of C. A register of A holds rows l / 4 (+ 8 for odd ones) of one half of k;
// with the lanes in order its elements are therefore eight rows of consecutive elements.
#include <cstring>

#include "tests/ptx/handlers.h"
#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

constexpr size_t kM = 16;
constexpr size_t kN = 8;
constexpr size_t kKMax = 32;

float widen(Half value) { return to_float(value); }
float widen(Bfloat value) { return to_float(value); }
int32_t widen(int8_t value) { return value; }
int32_t widen(uint8_t value) { return value; }

// The factors, as numbers in which their products are exact.
template <class Wide>
struct Factors {
  alignas(32) Wide a[kM][kKMax];
  alignas(32) Wide b[kKMax][kN];
};

// A register's elements, lane by lane: eight groups of four lanes, each `kPart` elements in a row.
template <class Narrow, class Wide>
void widen_register(const Warp& warp, const Instruction& instruction, size_t index,
                    Wide (&elements)[kLanes * 4]) {
  constexpr size_t kPerLane = 4 / sizeof(Narrow);
  const Narrow* from = source<Narrow>(warp, instruction, index);
  for (size_t i = 0; i < kLanes * kPerLane; ++i) elements[i] = widen(from[i]);
}

template <class Narrow, size_t k, class Wide>
void gather(const Warp& warp, const Instruction& instruction, Factors<Wide>& factors) {
  constexpr size_t kPart = 16 / sizeof(Narrow);  // of k in one register
  constexpr size_t kARegisters = 2 * (k / kPart);
  Wide elements[kLanes * 4];
  for (size_t r = 0; r < kARegisters; ++r) {
    widen_register<Narrow>(warp, instruction, r, elements);
    for (size_t row = 0; row < 8; ++row) {
      std::memcpy(&factors.a[row + 8 * (r % 2)][kPart * (r / 2)], &elements[kPart * row],
                  kPart * sizeof(Wide));
    }
  }
  for (size_t r = 0; r < k / kPart; ++r) {
    widen_register<Narrow>(warp, instruction, kARegisters + r, elements);
    for (size_t column = 0; column < kN; ++column) {
      for (size_t i = 0; i < kPart; ++i) {
        factors.b[kPart * r + i][column] = elements[kPart * column + i];
      }
    }
  }
}

// Sum is double for floats, so that the products and all but the last bits of their sums are exact,
// and wraps for integers.
template <size_t k, class Wide, class Sum>
void multiply(const Factors<Wide>& factors, Sum (&sums)[kM][kN]) {
  for (size_t row = 0; row < kM; ++row) {
    Sum line[kN];
    std::memcpy(line, sums[row], sizeof line);
    for (size_t i = 0; i < k; ++i) {
      const Sum a = static_cast<Sum>(factors.a[row][i]);
      for (size_t column = 0; column < kN; ++column) {
        line[column] += a * static_cast<Sum>(factors.b[i][column]);
      }
    }
    std::memcpy(sums[row], line, sizeof line);
  }
}

// Register r of C holds row l / 4 + 8 * (r / 2), column (l % 4) * 2 + r % 2.
template <class T, class Sum>
void load_sums(const Warp& warp, const Instruction& instruction, size_t first,
               Sum (&sums)[kM][kN]) {
  for (size_t r = 0; r < 4; ++r) {
    const T* c = source<T>(warp, instruction, first + r);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane / 4 + 8 * (r / 2)][lane % 4 * 2 + r % 2] = static_cast<Sum>(c[lane]);
    }
  }
}
template <class T, class Sum>
void store_sums(Warp& warp, const Instruction& instruction, uint32_t mask,
                const Sum (&sums)[kM][kN]) {
  for (size_t r = 0; r < 4; ++r) {
    Results<T> results;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      results.lane[lane] = static_cast<T>(sums[lane / 4 + 8 * (r / 2)][lane % 4 * 2 + r % 2]);
    }
    results.commit(warp, instruction, mask, r);
  }
}

// The same of pairs of f16: register r holds both columns of row l / 4 + 8 r.
struct HalfPair {
  Half part[2];
};
void load_sums_half(const Warp& warp, const Instruction& instruction, size_t first,
                    double (&sums)[kM][kN]) {
  for (size_t r = 0; r < 2; ++r) {
    const HalfPair* c = source<HalfPair>(warp, instruction, first + r);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      for (size_t i = 0; i < 2; ++i) {
        sums[lane / 4 + 8 * r][lane % 4 * 2 + i] = static_cast<double>(to_float(c[lane].part[i]));
      }
    }
  }
}
void store_sums_half(Warp& warp, const Instruction& instruction, uint32_t mask,
                     const double (&sums)[kM][kN]) {
  for (size_t r = 0; r < 2; ++r) {
    Results<HalfPair> results;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      for (size_t i = 0; i < 2; ++i) {
        results.lane[lane].part[i] = to_half(sums[lane / 4 + 8 * r][lane % 4 * 2 + i]);
      }
    }
    results.commit(warp, instruction, mask, r);
  }
}

template <class Narrow, size_t k>
constexpr size_t factor_registers() {
  return 3 * (k * sizeof(Narrow) / 16);
}

template <class Narrow, size_t k>
void run_float(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Factors<float> factors;
  alignas(32) double sums[kM][kN];
  gather<Narrow, k>(warp, instruction, factors);
  load_sums<float>(warp, instruction, factor_registers<Narrow, k>(), sums);
  multiply<k>(factors, sums);
  store_sums<float>(warp, instruction, mask, sums);
}

template <size_t k>
void run_half(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Factors<float> factors;
  alignas(32) double sums[kM][kN];
  gather<Half, k>(warp, instruction, factors);
  load_sums_half(warp, instruction, factor_registers<Half, k>(), sums);
  multiply<k>(factors, sums);
  store_sums_half(warp, instruction, mask, sums);
}

template <class Narrow, size_t k>
void run_integer(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Factors<int32_t> factors;
  alignas(32) uint32_t sums[kM][kN];
  gather<Narrow, k>(warp, instruction, factors);
  load_sums<uint32_t>(warp, instruction, factor_registers<Narrow, k>(), sums);
  multiply<k>(factors, sums);
  store_sums<uint32_t>(warp, instruction, mask, sums);
}

}  // namespace

Handler mma_handler(const Opcode& opcode, int32_t k) {
  // The types are those of D, A, B and C.
  if (opcode.types.size() != 4 || !opcode.has("row") || !opcode.has("col")) return nullptr;
  const Type sums = opcode.types[0];
  const Type factors = opcode.types[1];
  if (factors != opcode.types[2] || sums != opcode.types[3] || opcode.has("satfinite")) {
    return nullptr;
  }
  if (factors == Type::kF16 && sums == Type::kF32) {
    return k == 16 ? &run_float<Half, 16> : k == 8 ? &run_float<Half, 8> : nullptr;
  }
  if (factors == Type::kF16 && sums == Type::kF16) {
    return k == 16 ? &run_half<16> : k == 8 ? &run_half<8> : nullptr;
  }
  if (factors == Type::kBf16 && sums == Type::kF32) {
    return k == 16 ? &run_float<Bfloat, 16> : k == 8 ? &run_float<Bfloat, 8> : nullptr;
  }
  if (sums != Type::kS32) return nullptr;
  if (factors == Type::kS8) {
    return k == 32 ? &run_integer<int8_t, 32> : k == 16 ? &run_integer<int8_t, 16> : nullptr;
  }
  if (factors == Type::kU8) {
    return k == 32 ? &run_integer<uint8_t, 32> : k == 16 ? &run_integer<uint8_t, 16> : nullptr;
  }
  return nullptr;
}

}  // namespace sluice::ptx
