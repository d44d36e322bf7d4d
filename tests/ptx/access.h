// SPDX-License-Identifier: Apache-2.0
#pragma once
// The way of every access to memory: from an address to the bytes, with all checks.

#include <array>
#include <cstddef>
#include <cstdint>

#include "tests/ptx/machine.h"

namespace sluice::ptx {

struct Access {
  Space space = Space::kGeneric;
  uint64_t address = 0;
  uint32_t bytes = 0;
  bool reads = false;
  bool writes = false;
  const void* value = nullptr;  // what a plain store writes
  bool in_flight = false;       // the write is that of a cp.async
  bool any_alignment = false;
};

// The bytes at the address, or null after a finding. Counts them, and notes the access for the
// detection of races.
std::byte* access(Warp& warp, const Instruction& instruction, uint32_t lane, const Access& wanted);

// The space that a generic address is in, with the address made an offset in it.
void resolve_generic(Access& wanted);

// Notes a write of `owner`'s shared bytes, or a read, and reports what conflicts with it.
void check_shared(Block& owner, Warp& warp, const Instruction& instruction, uint32_t lane,
                  const Access& wanted);

// Strong accesses to global memory hand on what happened before them: see Instruction::acquire.
void acquire_from(Warp& warp, const Instruction& instruction, uint64_t address);
void release_to(Warp& warp, const Instruction& instruction, uint64_t address);

// Reports a write that tells the host of others, by the memory that it watches, if not all of them
// were published by a fence of the whole system before.
void check_published(Warp& warp, const Instruction& instruction, uint32_t lane, uint64_t address);
// Reports what a kernel that may start early does before it waits for those before it.
void check_early(Warp& warp, const Instruction& instruction, uint32_t lane, const Access& wanted,
                 const Region& region);

// The 32-byte sectors that one warp instruction touches.
class Sectors {
 public:
  void add(uint64_t address, uint32_t bytes);
  uint64_t count() const { return count_; }

 private:
  void add_one(uint64_t sector);

  std::array<uint64_t, 8 * kLanes> seen_;
  size_t count_ = 0;
};

}  // namespace sluice::ptx
