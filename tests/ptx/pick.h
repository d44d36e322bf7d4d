// SPDX-License-Identifier: Apache-2.0
#pragma once
// Shapes of element-wise instructions, to be filled with an operation, and their choice by type.

#include <cstdint>

#include "tests/ptx/lanes.h"

namespace sluice::ptx {

// An operation has a static `apply`; T is the type of all of its operands.
struct Unary {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = source<T>(warp, instruction, 0);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = Operation::apply(a[i]);
    results.commit(warp, instruction, mask);
  }
};
struct Binary {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = source<T>(warp, instruction, 0);
    const T* b = source<T>(warp, instruction, 1);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = Operation::apply(a[i], b[i]);
    results.commit(warp, instruction, mask);
  }
};
struct Ternary {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = source<T>(warp, instruction, 0);
    const T* b = source<T>(warp, instruction, 1);
    const T* c = source<T>(warp, instruction, 2);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = Operation::apply(a[i], b[i], c[i]);
    results.commit(warp, instruction, mask);
  }
};

// For 16, 32 and 64 bits, signed as `type` says; bits count as unsigned.
template <class Shape, class Operation>
Handler pick_integer(Type type) {
  switch (type) {
    case Type::kU16:
    case Type::kB16:
      return &Shape::template run<uint16_t, Operation>;
    case Type::kU32:
    case Type::kB32:
      return &Shape::template run<uint32_t, Operation>;
    case Type::kU64:
    case Type::kB64:
      return &Shape::template run<uint64_t, Operation>;
    case Type::kS16:
      return &Shape::template run<int16_t, Operation>;
    case Type::kS32:
      return &Shape::template run<int32_t, Operation>;
    case Type::kS64:
      return &Shape::template run<int64_t, Operation>;
    default:
      return nullptr;
  }
}

// For operations that do not look at the sign.
template <class Shape, class Operation>
Handler pick_bits(Type type) {
  switch (size_of(type)) {
    case 2:
      return &Shape::template run<uint16_t, Operation>;
    case 4:
      return &Shape::template run<uint32_t, Operation>;
    case 8:
      return &Shape::template run<uint64_t, Operation>;
    default:
      return nullptr;
  }
}

}  // namespace sluice::ptx
