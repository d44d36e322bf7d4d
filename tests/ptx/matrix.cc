// SPDX-License-Identifier: Apache-2.0
// ldmatrix, stmatrix, movmatrix and mma. Fragments are as the PTX ISA lays them out: lane l holds,
// of a row of 8 or 16 elements, those at (l % 4) * 2 in row l / 4.
#include <cstring>

#include "tests/ptx/access.h"
#include "tests/ptx/handlers.h"
#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

constexpr size_t kRows = 8;  // of a small matrix, of 8 elements of 16 bits each
constexpr size_t kRowBytes = 16;

using Small = uint16_t[kRows][kRows];

uint64_t row_address(const Warp& warp, const Instruction& instruction, uint32_t lane) {
  const uint64_t base = instruction.source_bytes == 8
                            ? source<uint64_t>(warp, instruction, 0)[lane]
                            : uint64_t{source<uint32_t>(warp, instruction, 0)[lane]};
  return base + static_cast<uint64_t>(instruction.offset);
}

// The two elements of `lane`, the first one lower.
uint32_t fragment(const Small& matrix, uint32_t lane, bool transposed) {
  const uint32_t row = lane / 4;
  const uint32_t column = lane % 4 * 2;
  const uint32_t first = transposed ? matrix[column][row] : matrix[row][column];
  const uint32_t second = transposed ? matrix[column + 1][row] : matrix[row][column + 1];
  return first | second << 16;
}

void scatter(Small& matrix, const uint32_t* fragments, bool transposed) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    const uint32_t row = lane / 4;
    const uint32_t column = lane % 4 * 2;
    const auto first = static_cast<uint16_t>(fragments[lane]);
    const auto second = static_cast<uint16_t>(fragments[lane] >> 16);
    (transposed ? matrix[column][row] : matrix[row][column]) = first;
    (transposed ? matrix[column + 1][row] : matrix[row][column + 1]) = second;
  }
}

}  // namespace

void run_ldmatrix(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Results<uint32_t> results[4];
  for (uint32_t k = 0; k < instruction.destinations; ++k) {
    Small matrix = {};
    for (uint32_t row = 0; row < kRows; ++row) {
      const uint32_t lane = static_cast<uint32_t>(kRows) * k + row;
      const Access wanted{.space = instruction.space,
                          .address = row_address(warp, instruction, lane),
                          .bytes = kRowBytes,
                          .reads = true};
      const std::byte* from = access(warp, instruction, lane, wanted);
      if (from != nullptr) std::memcpy(matrix[row], from, kRowBytes);
    }
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      results[k].lane[lane] = fragment(matrix, lane, instruction.option != 0);
    }
  }
  for (uint32_t k = 0; k < instruction.destinations; ++k) {
    results[k].commit(warp, instruction, mask, k);
  }
}

void run_stmatrix(Warp& warp, const Instruction& instruction, uint32_t /*mask*/) {
  for (uint32_t k = 0; k + 1 < instruction.sources; ++k) {
    Small matrix;
    scatter(matrix, source<uint32_t>(warp, instruction, 1 + k), instruction.option != 0);
    for (uint32_t row = 0; row < kRows; ++row) {
      const uint32_t lane = static_cast<uint32_t>(kRows) * k + row;
      const Access wanted{.space = instruction.space,
                          .address = row_address(warp, instruction, lane),
                          .bytes = kRowBytes,
                          .writes = true,
                          .value = matrix[row]};
      std::byte* to = access(warp, instruction, lane, wanted);
      if (to != nullptr) std::memcpy(to, matrix[row], kRowBytes);
    }
  }
}

void run_movmatrix(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Small matrix;
  scatter(matrix, source<uint32_t>(warp, instruction, 0), false);
  Results<uint32_t> results;
  for (uint32_t lane = 0; lane < kLanes; ++lane) results.lane[lane] = fragment(matrix, lane, true);
  results.commit(warp, instruction, mask);
}

}  // namespace sluice::ptx
