// SPDX-License-Identifier: Apache-2.0
#pragma once
// The state of a launch: machine, blocks, warps.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/prng.h"
#include "tests/ptx/launch.h"
#include "tests/ptx/memory.h"
#include "tests/ptx/program.h"
#include "tests/ptx/report.h"
#include "tests/ptx/shadow.h"

namespace sluice::ptx {

struct Machine;
struct Block;
struct Cluster;

// Generic addresses of shared and local memory: no region of Memory is near them.
constexpr uint64_t kSharedWindow = 0x0700'0000'0000'0000;
constexpr uint64_t kLocalWindow = 0x0710'0000'0000'0000;
constexpr uint64_t kWindowMask = 0xffff'0000'0000'0000;

// An address of shared memory in a cluster: offset, and above it the block's rank plus 1. 0 is the
// block itself.
constexpr uint32_t kRankShift = 24;

// How far a warp is with the cluster's barrier.
enum class ClusterPhase : uint8_t { kNone, kArrived, kOpen };

// Lanes that are at the same place.
struct Group {
  uint32_t pc = 0;
  uint32_t mask = 0;
  bool waiting = false;  // for other lanes to arrive here
};

// A cp.async that has not been waited for.
struct PendingCopy {
  uint32_t lane = 0;
  uint32_t group = 0;  // how many groups its lane had committed before
  uint32_t destination = 0;
  uint32_t bytes = 0;
  uint32_t bytes_from = 0;  // the rest becomes 0
  const std::byte* from = nullptr;
};

struct Warp {
  Block* block = nullptr;
  uint32_t id = 0;
  std::byte* registers = nullptr;       // Kernel::register_bytes of them
  std::vector<uint32_t> assigned = {};  // per 32 bytes of registers: lanes that set the row there
  std::vector<std::byte> local = {};    // Kernel::local_bytes per lane
  std::vector<Group> groups = {};
  uint32_t lanes = 0;  // that exist
  uint32_t live = 0;   // that have not returned
  bool done = false;
  bool at_barrier = false;
  uint32_t barrier = 0;
  uint32_t barrier_threads = 0;  // 0: all of the block
  uint32_t barrier_votes = 0;    // bar.red: lanes whose predicate holds
  ClusterPhase cluster_phase = ClusterPhase::kNone;
  bool at_cluster_barrier = false;
  std::shared_ptr<const Foreign> cluster_seen = {};  // what the barrier hands over, once open
  bool rotates = false;  // another group's turn, since one went on in a loop
  Knowledge knowledge = {};
  std::shared_ptr<const Foreign> published = {};          // as of the last fence
  std::shared_ptr<const Foreign> published_to_host = {};  // as of the last of the whole system
  std::shared_ptr<const Foreign> acquirable = {};         // read since the last fence
  uint32_t waited = 0;  // lanes that griddepcontrol.wait has let through
  std::vector<PendingCopy> copies = {};
  std::array<uint32_t, kLanes> groups_committed = {};
  std::vector<std::byte> register_storage = {};
};

// Blocks that run together.
struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks = {};  // by rank
  std::shared_ptr<const Foreign> gathered = {};     // of warps that have arrived at the barrier
};

struct Block {
  explicit Block(Machine& owner);

  Machine& machine;
  uint32_t id = 0;
  Cluster* cluster = nullptr;
  uint32_t rank = 0;  // in the cluster
  Dim position = {0, 0, 0};
  std::vector<std::byte> shared = {};
  Shadow shared_shadow;
  std::vector<uint16_t> copies_pending = {};  // per word of shared
  size_t copies_pending_total = 0;
  std::vector<Warp> warps = {};
  std::vector<uint32_t> order = {};  // in which warps take turns
  bool done = false;
};

// Where a finding is.
struct Place {
  const Warp* warp = nullptr;
  const Instruction* instruction = nullptr;
  uint32_t lane = 0;
  uint64_t address = 0;
};

struct Machine {
  Machine(Memory& its_memory, const Kernel& its_kernel, const LaunchShape& its_shape,
          std::span<const std::byte> its_arguments, const LaunchOptions& its_options);

  // Notes a finding; `text` is used if it is the first at this place.
  void report(FindingKind kind, const Place& place, const std::string& text);
  // The same, and the launch stops.
  void stop(FindingKind kind, const Place& place, const std::string& text);
  // Whether a finding at this place would be the first, so that its text is worth making.
  bool is_new(FindingKind kind, const Place& place) const;

  uint32_t index_of(const Instruction& instruction) const {
    return static_cast<uint32_t>(&instruction - kernel.code.data());
  }
  std::string instruction_text(const Instruction& instruction) const {
    return kernel.texts[index_of(instruction)];
  }

  Memory& memory;
  const Kernel& kernel;
  LaunchShape shape;
  std::span<const std::byte> arguments;
  LaunchOptions options;
  uint32_t launch_id = 0;
  uint32_t warps_per_block = 0;
  std::vector<uint32_t> assigned_at_start;  // Warp::assigned before the first instruction
  bool stopped = false;
  Counters counters = {};
  Region* last_region = nullptr;
  Prng prng;
  // What strong writes published, by address.
  std::map<uint64_t, std::shared_ptr<const Foreign>> released = {};
  std::map<std::pair<FindingKind, uint32_t>, Finding> findings = {};
};

// Runs `warp` until it waits at a barrier of the block, is done, or has taken `branches_max`
// backward branches.
void run_warp(Warp& warp, uint64_t branches_max);
// Makes `block` ready to run as block `id`.
void start_block(Block& block, uint32_t id);
// Gives each warp of `block` a turn and opens barriers that are complete. False if nothing could go
// on.
bool step_block(Block& block);
// A synchronisation of the warp, by `instruction`.
void advance_time(Warp& warp, const Instruction& instruction);
// barrier.cluster.arrive and wait, for the lanes in `mask`, which are all of the live ones. False
// if the warp has to wait.
void arrive_at_cluster(Warp& warp, const Instruction& instruction, uint32_t mask);
bool pass_cluster_barrier(Warp& warp, const Instruction& instruction, uint32_t mask);
// Opens the cluster's barrier if it is complete; false if not.
bool open_cluster_barrier(Cluster& cluster);
// For a block in which nothing can go on.
void report_block_deadlock(Block& block);

}  // namespace sluice::ptx
