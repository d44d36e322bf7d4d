// SPDX-License-Identifier: Apache-2.0
// The barrier of a cluster: warps arrive, go on, and wait for the others later.
#include <algorithm>
#include <bit>

#include "tests/ptx/machine.h"

namespace sluice::ptx {
namespace {

uint32_t first_lane(uint32_t mask) { return static_cast<uint32_t>(std::countr_zero(mask)); }

// The cluster's barrier orders the warps of one block too.
void join_own_block(Warp& warp) {
  if (!warp.cluster_seen) return;
  const auto found = warp.cluster_seen->find(warp.block->id);
  if (found == warp.cluster_seen->end()) return;
  Times& seen = warp.knowledge.seen;
  for (size_t i = 0; i < seen.size(); ++i) seen[i] = std::max(seen[i], found->second[i]);
}

}  // namespace

void advance_time(Warp& warp, const Instruction& instruction) {
  Machine& machine = warp.block->machine;
  if (warp.knowledge.time == kRecordTimeMax && machine.options.check_memory) {
    machine.stop(FindingKind::kLimit, Place{&warp, &instruction, 0, 0},
                 "more barriers than the checks can tell apart");
    return;
  }
  ++warp.knowledge.time;
}

void arrive_at_cluster(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Machine& machine = warp.block->machine;
  if (warp.cluster_phase != ClusterPhase::kNone) {
    machine.stop(FindingKind::kBlockDeadlock, Place{&warp, &instruction, first_lane(mask), 0},
                 "arrives at the cluster's barrier again before it has waited");
    return;
  }
  warp.cluster_phase = ClusterPhase::kArrived;
  if (instruction.release && machine.options.check_memory) {
    Knowledge all;
    all.foreign = warp.block->cluster->gathered;
    all.join_foreign(warp.knowledge.publish());
    warp.block->cluster->gathered = all.foreign;
  }
  advance_time(warp, instruction);
}

bool pass_cluster_barrier(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Machine& machine = warp.block->machine;
  if (warp.cluster_phase == ClusterPhase::kOpen) {
    warp.knowledge.join_foreign(warp.cluster_seen);
    join_own_block(warp);
    warp.cluster_seen.reset();
    warp.cluster_phase = ClusterPhase::kNone;
    ++warp.groups[0].pc;
    advance_time(warp, instruction);
    return true;
  }
  if (warp.cluster_phase == ClusterPhase::kNone) {
    machine.stop(FindingKind::kBlockDeadlock, Place{&warp, &instruction, first_lane(mask), 0},
                 "waits at the cluster's barrier without having arrived");
    return false;
  }
  // It will execute this once more, which is then the time that counts.
  --machine.counters.warp_instructions;
  machine.counters.lane_instructions -= static_cast<uint64_t>(std::popcount(mask));
  warp.at_cluster_barrier = true;
  return false;
}

bool open_cluster_barrier(Cluster& cluster) {
  size_t arrived = 0;
  for (const std::unique_ptr<Block>& block : cluster.blocks) {
    for (const Warp& warp : block->warps) {
      if (warp.done) continue;
      if (warp.cluster_phase != ClusterPhase::kArrived) return false;
      ++arrived;
    }
  }
  if (arrived == 0) return false;
  for (const std::unique_ptr<Block>& block : cluster.blocks) {
    for (Warp& warp : block->warps) {
      if (warp.done) continue;
      warp.cluster_phase = ClusterPhase::kOpen;
      warp.cluster_seen = cluster.gathered;
      warp.at_cluster_barrier = false;
      for (Group& group : warp.groups) group.waiting = false;
    }
  }
  cluster.gathered.reset();
  return true;
}

}  // namespace sluice::ptx
