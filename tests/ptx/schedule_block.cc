// SPDX-License-Identifier: Apache-2.0
// Which warp of a block runs next, and the block's barriers.
#include <algorithm>
#include <map>
#include <string>

#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

// Turns without a seed: a warp that waits in a loop lets the others go on.
constexpr uint64_t kBranchesPerTurn = 1024;

// bar.red: what the predicates of all threads come to, for each of them.
void give_votes(Warp& warp, uint32_t count, bool all) {
  const Instruction& instruction = warp.block->machine.kernel.code[warp.groups[0].pc];
  const uint32_t mask = warp.groups[0].mask;
  switch (static_cast<BarrierKind>(instruction.option)) {
    case BarrierKind::kSync:
      return;
    case BarrierKind::kCount: {
      Results<uint32_t> results;
      for (uint32_t& value : results.lane) value = count;
      results.commit(warp, instruction, mask);
      break;
    }
    case BarrierKind::kAnd:
      set_predicate(warp, instruction, 0, mask, all ? kAllLanes : 0);
      break;
    case BarrierKind::kOr:
      set_predicate(warp, instruction, 0, mask, count > 0 ? kAllLanes : 0);
      break;
  }
  if (warp.block->machine.options.check_registers && instruction.d[0] != kNoRow) {
    warp.assigned[instruction.d[0] / 32] |= mask;
  }
}

// Opens the barrier for warps that have all arrived: what each knew is known to all.
void open_barrier(Block& block, const std::vector<Warp*>& warps) {
  Knowledge joined;
  for (const Warp* warp : warps) {
    joined.join(warp->knowledge);
    joined.seen[warp->id] = std::max(joined.seen[warp->id], warp->knowledge.time);
  }
  uint32_t votes = 0;
  bool all = true;
  for (const Warp* warp : warps) {
    votes += static_cast<uint32_t>(std::popcount(warp->barrier_votes));
    all = all && warp->barrier_votes == warp->groups[0].mask;
  }
  Machine& machine = block.machine;
  for (Warp* warp : warps) {
    give_votes(*warp, votes, all);
    warp->knowledge.seen = joined.seen;
    warp->knowledge.foreign = joined.foreign;
    advance_time(*warp, machine.kernel.code[warp->groups[0].pc]);
    warp->at_barrier = false;
    for (Group& group : warp->groups) {
      ++group.pc;
      group.waiting = false;
    }
  }
}

// True if a barrier was opened.
bool open_barriers(Block& block) {
  std::map<uint32_t, std::vector<Warp*>> waiting;
  size_t live = 0;
  for (Warp& warp : block.warps) {
    if (warp.done) continue;
    ++live;
    if (warp.at_barrier) waiting[warp.barrier].push_back(&warp);
  }
  bool opened = false;
  for (const auto& [barrier, warps] : waiting) {
    const uint32_t threads = warps[0]->barrier_threads;
    const size_t needed = threads == 0 ? live : (threads + kLanes - 1) / kLanes;
    if (warps.size() < needed) continue;
    open_barrier(block, warps);
    opened = true;
  }
  return opened;
}

}  // namespace

void report_block_deadlock(Block& block) {
  const Warp* at = nullptr;
  std::string text = "warps wait at different barriers:";
  for (const Warp& warp : block.warps) {
    if (warp.done) continue;
    if (at == nullptr) at = &warp;
    text += " warp " + std::to_string(warp.id) + " at " +
            (warp.at_cluster_barrier ? "the cluster's barrier"
                                     : "barrier " + std::to_string(warp.barrier)) +
            " in PTX line " + std::to_string(block.machine.kernel.code[warp.groups[0].pc].line) +
            ",";
  }
  block.machine.stop(FindingKind::kBlockDeadlock,
                     Place{at, &block.machine.kernel.code[at->groups[0].pc], 0, 0}, text);
}

bool step_block(Block& block) {
  Machine& machine = block.machine;
  const bool random = machine.options.seed != 0;
  if (random) {
    for (size_t i = block.order.size(); i > 1; --i) {
      const auto other = static_cast<size_t>(machine.prng.between(0, static_cast<int64_t>(i) - 1));
      std::swap(block.order[i - 1], block.order[other]);
    }
  }
  bool progress = false;
  for (const uint32_t index : block.order) {
    Warp& warp = block.warps[index];
    if (warp.done || warp.at_barrier || warp.at_cluster_barrier) continue;
    progress = true;
    run_warp(warp, random ? static_cast<uint64_t>(machine.prng.between(1, 4)) : kBranchesPerTurn);
    if (machine.stopped) return true;
  }
  block.done = std::all_of(block.warps.begin(), block.warps.end(),
                           [](const Warp& warp) { return warp.done; });
  return open_barriers(block) || block.done || progress;
}

}  // namespace sluice::ptx
