// SPDX-License-Identifier: Apache-2.0
#pragma once
// How instructions reach the rows of the register file. Rows are read as one type and written as
// another, so what includes this is compiled with -fno-strict-aliasing.

#include <bit>
#include <cstdint>
#include <cstring>

#include "tests/ptx/machine.h"

namespace sluice::ptx {

constexpr uint32_t kAllLanes = 0xffffffffu;

// The 32 values of source or destination `index`.
template <class T>
const T* source(const Warp& warp, const Instruction& instruction, size_t index) {
  return reinterpret_cast<const T*>(warp.registers + instruction.s[index]);
}
template <class T>
T* destination(Warp& warp, const Instruction& instruction, size_t index) {
  return reinterpret_cast<T*>(warp.registers + instruction.d[index]);
}

// The lanes for which predicate source `index` is true.
inline uint32_t predicate(const Warp& warp, const Instruction& instruction, size_t index) {
  const uint32_t value = *source<uint32_t>(warp, instruction, index);
  return (instruction.negated >> index & 1u) != 0 ? ~value : value;
}
// Sets predicate destination `index` of the lanes in `mask`; `_` is left alone.
inline void set_predicate(Warp& warp, const Instruction& instruction, size_t index, uint32_t mask,
                          uint32_t value) {
  if (instruction.d[index] == kNoRow) return;
  uint32_t* row = destination<uint32_t>(warp, instruction, index);
  *row = (*row & ~mask) | (value & mask);
}

template <class Each>
void for_each_lane(uint32_t mask, Each each) {
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    each(static_cast<uint32_t>(std::countr_zero(rest)));
  }
}

// Results of all lanes; those in `mask` become the destination. Computing the others too lets
// compilers use vector instructions, and their values are not looked at.
template <class T>
struct Results {
  alignas(32) T lane[kLanes];

  void commit(Warp& warp, const Instruction& instruction, uint32_t mask, size_t index = 0) const {
    if (instruction.d[index] == kNoRow) return;
    T* row = destination<T>(warp, instruction, index);
    if (mask == kAllLanes) {
      std::memcpy(row, lane, sizeof lane);
    } else {
      for_each_lane(mask, [&](uint32_t i) { row[i] = lane[i]; });
    }
  }
};

}  // namespace sluice::ptx
