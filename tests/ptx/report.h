// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a launch reports: findings, each a thing that a correct kernel does not do, and counters.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::ptx {

// What is wrong. A launch goes on after those marked "goes on"; the others stop it.
enum class FindingKind : uint8_t {
  kSharedRace,             // two warps touch the same bytes with no barrier between; goes on
  kWarpRace,               // two lanes of a warp do so with no __syncwarp between; goes on
  kGlobalRace,             // as kSharedRace, on global memory inside one block; goes on
  kBlockRace,              // two blocks touch the same bytes in one launch, unordered; goes on
  kUninitialisedShared,    // a read of shared bytes that nobody wrote; goes on
  kUninitialisedGlobal,    // the same for global bytes; goes on
  kUninitialisedRegister,  // a lane uses a register that it has not set; goes on
  kAsyncHazard,            // bytes are touched, or a thread ends, while a cp.async to them is under
                           // way; goes on
  kUnpublished,            // the host may see a flag before what it stands for; goes on
  kEarlyAccess,  // before griddepcontrol.wait: a write, or a read of what kernels write; goes on
  kOutOfBounds,  // no region holds these bytes; reads give 0, writes are lost; goes on
  kReadOnlyWritten,      // a write to a region that is read only; it is lost; goes on
  kMisaligned,           // the address is no multiple of the access; goes on
  kInactiveSource,       // shfl reads a lane that takes no part; goes on
  kMaskExcludesCaller,   // a lane's own bit is not in the member mask it gives; goes on
  kMaskNamesExitedLane,  // a member mask names a lane that has left the kernel; goes on
  kInactiveLanes,        // an .aligned instruction that not all lanes of the warp execute; goes on
  kWarpDeadlock,         // lanes of a warp wait for each other at different places
  kBlockDeadlock,        // warps of a block wait for each other at different barriers
  kTrap,                 // trap, or a failed assert
  kUnsupported,          // an instruction the interpreter does not know
  kLimit,                // LaunchOptions::instructions_max, or a limit of the checks
};

// E.g. "shared race".
std::string_view name_of(FindingKind kind);

// The first occurrence of a thing that is wrong at one place of the code.
struct Finding {
  FindingKind kind = FindingKind::kTrap;
  std::string kernel;
  size_t line = 0;         // of the PTX text, from 1
  size_t source_line = 0;  // of the CUDA source if compiled with -lineinfo, else 0
  uint32_t block = 0;      // x + grid.x * (y + grid.y * z)
  uint32_t warp = 0;
  uint32_t lane = 0;
  uint64_t address = 0;  // offset for shared memory; 0 if it is about no memory
  uint64_t count = 0;    // how often it occurred
  std::string text;      // one sentence, with the instruction
};

// One line for people.
std::string describe(const Finding& finding);

// What a launch did.
struct Counters {
  uint64_t warp_instructions = 0;
  uint64_t lane_instructions = 0;  // sum of active lanes over those
  uint64_t global_bytes_read = 0;  // all lanes, repeated reads count again
  uint64_t global_bytes_written = 0;
  uint64_t shared_bytes_read = 0;
  uint64_t shared_bytes_written = 0;
  uint64_t sectors_read = 0;  // 32-byte sectors, different ones of each warp instruction
  uint64_t sectors_written = 0;
  // Different bytes and sectors over the whole launch; only with LaunchOptions::check_memory.
  uint64_t distinct_bytes_read = 0;
  uint64_t distinct_bytes_written = 0;
  uint64_t distinct_sectors_read = 0;
  uint64_t distinct_sectors_written = 0;
};

struct LaunchReport {
  bool completed = false;         // every thread reached its end
  std::vector<Finding> findings;  // at most one per kind and place
  Counters counters;
};

}  // namespace sluice::ptx
