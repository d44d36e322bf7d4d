// SPDX-License-Identifier: Apache-2.0
// ld and st, of one value or a vector.
#include <cstring>

#include "tests/ptx/access.h"
#include "tests/ptx/handlers.h"
#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

constexpr size_t kVectorBytesMax = 32;

uint64_t address_of(const Warp& warp, const Instruction& instruction, uint32_t lane) {
  const uint64_t base = instruction.source_bytes == 8
                            ? source<uint64_t>(warp, instruction, 0)[lane]
                            : uint64_t{source<uint32_t>(warp, instruction, 0)[lane]};
  return base + static_cast<uint64_t>(instruction.offset);
}

bool is_global(const Instruction& instruction, uint64_t address) {
  if (instruction.space == Space::kGlobal) return true;
  const uint64_t window = address & kWindowMask;
  return instruction.space == Space::kGeneric && window != kSharedWindow && window != kLocalWindow;
}

// Puts an element into lane `lane` of a register that may be wider than it.
void put(std::byte* row, size_t register_bytes, uint32_t lane, const std::byte* from, Type type) {
  const size_t bytes = size_of(type);
  uint64_t value = 0;
  std::memcpy(&value, from, bytes);
  if (is_signed(type) && register_bytes > bytes) {
    const size_t unused = 64 - 8 * bytes;
    value = static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused);
  }
  std::memcpy(row + register_bytes * lane, &value, register_bytes);
}

}  // namespace

void run_load(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const size_t element = size_of(instruction.type);
  const size_t count = instruction.destinations;
  const size_t width = instruction.register_bytes;
  // A destination may be the address's own register.
  std::byte values[kLanes][kVectorBytesMax];
  Sectors sectors;
  Machine& machine = warp.block->machine;
  for_each_lane(mask, [&](uint32_t lane) {
    const uint64_t address = address_of(warp, instruction, lane);
    Access wanted{.space = instruction.space,
                  .address = address,
                  .bytes = static_cast<uint32_t>(element * count),
                  .reads = true};
    const std::byte* from = access(warp, instruction, lane, wanted);
    if (from == nullptr) {
      std::memset(values[lane], 0, element * count);
      return;
    }
    std::memcpy(values[lane], from, element * count);
    if (!is_global(instruction, address)) return;
    sectors.add(address, wanted.bytes);
    if (instruction.strong && machine.options.check_memory) {
      acquire_from(warp, instruction, address);
    }
  });
  machine.counters.sectors_read += sectors.count();
  for (size_t k = 0; k < count; ++k) {
    if (instruction.d[k] == kNoRow) continue;
    std::byte* row = warp.registers + instruction.d[k];
    for_each_lane(mask, [&](uint32_t lane) {
      put(row, width, lane, values[lane] + element * k, instruction.type);
    });
  }
}

void run_store(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const size_t element = size_of(instruction.type);
  const size_t count = instruction.sources - 1u;
  const size_t width = instruction.register_bytes;
  Sectors sectors;
  Machine& machine = warp.block->machine;
  for_each_lane(mask, [&](uint32_t lane) {
    std::byte value[kVectorBytesMax];
    for (size_t k = 0; k < count; ++k) {
      const std::byte* row = warp.registers + instruction.s[1 + k];
      std::memcpy(value + element * k, row + width * lane, element);
    }
    const uint64_t address = address_of(warp, instruction, lane);
    Access wanted{.space = instruction.space,
                  .address = address,
                  .bytes = static_cast<uint32_t>(element * count),
                  .writes = true,
                  .value = value};
    std::byte* to = access(warp, instruction, lane, wanted);
    if (to == nullptr) return;
    std::memcpy(to, value, wanted.bytes);
    if (!is_global(instruction, address)) return;
    sectors.add(address, wanted.bytes);
    if (instruction.strong && machine.options.check_memory) release_to(warp, instruction, address);
  });
  machine.counters.sectors_written += sectors.count();
}

}  // namespace sluice::ptx
