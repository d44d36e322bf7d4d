// SPDX-License-Identifier: Apache-2.0
// Which lanes of a warp execute what next.
#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <string>

#include "tests/ptx/lanes.h"
#include "tests/ptx/machine.h"

namespace sluice::ptx {
namespace {

constexpr uint32_t kNoGroup = 0xffffffffu;

std::string hex(uint32_t mask) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[mask >> shift & 15u];
  return text;
}

uint32_t first_lane(uint32_t mask) { return static_cast<uint32_t>(std::countr_zero(mask)); }

class WarpRunner {
 public:
  WarpRunner(Warp& warp, uint64_t branches_max)
      : warp_(warp),
        machine_(warp.block->machine),
        code_(machine_.kernel.code.data()),
        branches_left_(branches_max),
        check_registers_(machine_.options.check_registers) {}

  void run() {
    while (!machine_.stopped && !yields_) {
      merge_groups();
      if (warp_.groups.empty()) {
        warp_.done = true;
        return;
      }
      const uint32_t chosen = choose_group();
      if (chosen == kNoGroup) return report_deadlock();
      run_group(chosen);
    }
  }

 private:
  // Groups by place in the code; those at one place become one, which must look again whether the
  // lanes it waits for are there.
  void merge_groups() {
    std::vector<Group>& groups = warp_.groups;
    if (groups.size() < 2) return;
    std::sort(groups.begin(), groups.end(),
              [](const Group& a, const Group& b) { return a.pc < b.pc; });
    size_t last = 0;
    for (size_t i = 1; i < groups.size(); ++i) {
      if (groups[i].pc == groups[last].pc) {
        groups[last].mask |= groups[i].mask;
        groups[last].waiting = false;
      } else {
        groups[++last] = groups[i];
      }
    }
    groups.resize(last + 1);
  }

  // The group furthest behind, or after a turn that ended in a loop the one furthest ahead: lanes
  // of a warp may wait for each other.
  uint32_t choose_group() {
    std::array<uint32_t, kLanes> runnable;
    size_t count = 0;
    for (size_t i = 0; i < warp_.groups.size(); ++i) {
      if (!warp_.groups[i].waiting) runnable[count++] = static_cast<uint32_t>(i);
    }
    if (count == 0) return kNoGroup;
    if (machine_.options.part_lanes) {
      return runnable[machine_.prng.next() % count];
    }
    if (!warp_.rotates) return runnable[0];
    warp_.rotates = false;
    return runnable[count - 1];
  }

  void report_deadlock() {
    std::string text = "lanes wait at different places:";
    for (const Group& group : warp_.groups) {
      text += " " + hex(group.mask) + " at PTX line " + std::to_string(code_[group.pc].line) + ",";
    }
    const Group& group = warp_.groups[0];
    machine_.stop(FindingKind::kWarpDeadlock,
                  Place{&warp_, &code_[group.pc], first_lane(group.mask), 0}, text);
  }

  // Runs one group until it meets the next one, waits, splits or ends.
  void run_group(uint32_t index) {
    const uint32_t next = index + 1 < warp_.groups.size() ? warp_.groups[index + 1].pc : kNoGroup;
    while (!machine_.stopped) {
      Group& group = warp_.groups[index];
      const Instruction& instruction = code_[group.pc];
      uint32_t mask = group.mask;
      if (instruction.guard != kNoRow) mask &= guard_lanes(instruction, group.mask);
      ++machine_.counters.warp_instructions;
      machine_.counters.lane_instructions += static_cast<uint64_t>(std::popcount(mask));
      if (instruction.kind != Kind::kPlain) {
        if (!control(index, instruction, mask)) return;
      } else {
        if (mask != 0) execute(instruction, mask);
        ++group.pc;
      }
      if (warp_.groups[index].pc >= next) return;
    }
  }

  uint32_t guard_lanes(const Instruction& instruction, uint32_t mask) {
    if (check_registers_) {
      const uint32_t unset = mask & ~warp_.assigned[instruction.guard / 32];
      if (unset != 0) report_unset(instruction, unset);
    }
    uint32_t lanes = 0;
    std::memcpy(&lanes, warp_.registers + instruction.guard, sizeof lanes);
    return instruction.guard_negated ? ~lanes : lanes;
  }

  void execute(const Instruction& instruction, uint32_t mask) {
    if (!check_registers_) return instruction.handler(warp_, instruction, mask);
    uint32_t unset = 0;
    for (size_t i = 0; i < instruction.sources; ++i) {
      unset |= mask & ~warp_.assigned[instruction.s[i] / 32];
    }
    if (unset != 0 && !instruction.propagates) report_unset(instruction, unset);
    instruction.handler(warp_, instruction, mask);
    const uint32_t set = instruction.propagates ? mask & ~unset : mask;
    for (size_t i = 0; i < instruction.destinations; ++i) {
      if (instruction.d[i] == kNoRow) continue;
      uint32_t& assigned = warp_.assigned[instruction.d[i] / 32];
      assigned = (assigned & ~mask) | set;
    }
  }

  void report_unset(const Instruction& instruction, uint32_t lanes) {
    machine_.report(FindingKind::kUninitialisedRegister,
                    Place{&warp_, &instruction, first_lane(lanes), 0},
                    "uses a register that is not set");
  }

  // Everything but plain instructions. False: the group's run is over.
  bool control(uint32_t index, const Instruction& instruction, uint32_t mask) {
    switch (instruction.kind) {
      case Kind::kBranch:
        return branch(index, instruction.target, mask);
      case Kind::kBranchTable:
        return branch_table(index, instruction, mask);
      case Kind::kReturn:
        return leave(index, mask, instruction);
      default:
        return together(index, instruction, mask);
    }
  }

  bool branch(uint32_t index, uint32_t target, uint32_t mask) {
    Group& group = warp_.groups[index];
    if (mask == 0) {
      ++group.pc;
      return true;
    }
    const bool backward = target <= group.pc;
    if (mask == group.mask) {
      group.pc = target;
      if (backward && !may_go_back(group)) return false;
      return warp_.groups.size() == 1;
    }
    group.mask &= ~mask;
    ++group.pc;
    warp_.groups.push_back(Group{.pc = target, .mask = mask});
    if (backward) may_go_back(warp_.groups.back());
    return false;
  }

  // Counts a turn of a loop; false if the warp's turn is over.
  bool may_go_back(const Group& group) {
    if (machine_.counters.warp_instructions > machine_.options.instructions_max) {
      machine_.stop(FindingKind::kLimit, Place{&warp_, &code_[group.pc], first_lane(group.mask), 0},
                    "more instructions than LaunchOptions::instructions_max");
      return false;
    }
    if (branches_left_ > 0) --branches_left_;
    if (branches_left_ == 0) yields_ = warp_.rotates = true;
    return !yields_;
  }

  bool branch_table(uint32_t index, const Instruction& instruction, uint32_t mask) {
    const std::vector<uint32_t>& table = machine_.kernel.tables[instruction.target];
    const uint32_t* choice = source<uint32_t>(warp_, instruction, 0);
    Group& group = warp_.groups[index];
    const uint32_t rest = group.mask & ~mask;
    const uint32_t after = group.pc + 1;
    std::map<uint32_t, uint32_t> masks;
    for_each_lane(mask, [&](uint32_t lane) {
      if (choice[lane] < table.size()) {
        masks[table[choice[lane]]] |= 1u << lane;
      } else {
        machine_.stop(FindingKind::kTrap, Place{&warp_, &instruction, lane, 0},
                      "brx.idx beyond its table");
      }
    });
    if (rest != 0) masks[after] |= rest;
    warp_.groups.erase(warp_.groups.begin() + index);
    for (const auto& [target, lanes] : masks) {
      warp_.groups.push_back(Group{.pc = target, .mask = lanes});
    }
    return false;
  }

  bool leave(uint32_t index, uint32_t mask, const Instruction& instruction) {
    Group& group = warp_.groups[index];
    group.mask &= ~mask;
    ++group.pc;
    warp_.live &= ~mask;
    forget_copies(mask, instruction);
    if (group.mask == 0) warp_.groups.erase(warp_.groups.begin() + index);
    wake_all();
    return false;
  }

  // Lanes that wait for one that has left wait no more.
  void wake_all() {
    for (Group& group : warp_.groups) group.waiting = false;
  }

  void forget_copies(uint32_t mask, const Instruction& instruction) {
    Block& block = *warp_.block;
    const auto ends = [&](const PendingCopy& copy) { return (mask >> copy.lane & 1u) != 0; };
    const auto first = std::ranges::find_if(warp_.copies, ends);
    if (first == warp_.copies.end()) return;
    machine_.report(FindingKind::kAsyncHazard,
                    Place{&warp_, &instruction, first->lane, first->destination},
                    "the thread ends while its cp.async to shared byte " +
                        std::to_string(first->destination) + " is under way");
    std::erase_if(warp_.copies, [&](const PendingCopy& copy) {
      if ((mask >> copy.lane & 1u) == 0) return false;
      if (machine_.options.check_memory) {
        for (uint32_t at = copy.destination; at < copy.destination + copy.bytes; at += 4) {
          --block.copies_pending[at / 4];
        }
        --block.copies_pending_total;
      }
      return true;
    });
  }

  // Barriers and what lanes execute together.
  bool together(uint32_t index, const Instruction& instruction, uint32_t mask) {
    Group& group = warp_.groups[index];
    if (mask == 0) {
      ++group.pc;
      return true;
    }
    if (mask != group.mask) {
      // Those that do not take part go on.
      warp_.groups.push_back(Group{.pc = group.pc + 1, .mask = group.mask & ~mask});
      warp_.groups[index].mask = mask;
      return false;
    }
    const uint32_t members = member_lanes(instruction, mask);
    if ((members & ~mask) != 0) {
      group.waiting = true;
      if (instruction.kind == Kind::kWarpBarrier) open_warp_barrier(members);
      return false;
    }
    if (instruction.kind == Kind::kBarrier) {
      arrive(instruction, mask);
      return false;
    }
    if (instruction.kind == Kind::kClusterWait) {
      yields_ = !pass_cluster_barrier(warp_, instruction, mask);
      return !yields_;
    }
    if (instruction.kind == Kind::kWarpBarrier) {
      advance_time(warp_, instruction);
    } else if (instruction.kind == Kind::kClusterArrive) {
      arrive_at_cluster(warp_, instruction, mask);
    } else {
      if (instruction.kind == Kind::kAligned && mask != warp_.lanes) {
        machine_.report(FindingKind::kInactiveLanes,
                        Place{&warp_, &instruction, first_lane(mask), 0},
                        "only lanes " + hex(mask) + " take part");
      }
      execute(instruction, mask);
    }
    ++group.pc;
    return true;
  }

  // The live lanes that have to come together here.
  uint32_t member_lanes(const Instruction& instruction, uint32_t mask) {
    if (instruction.kind != Kind::kWarp && instruction.kind != Kind::kWarpBarrier)
      return warp_.live;
    const uint32_t* given = source<uint32_t>(warp_, instruction, instruction.sources - 1u);
    const uint32_t members = given[first_lane(mask)];
    if ((mask & ~members) != 0) {
      machine_.report(FindingKind::kMaskExcludesCaller,
                      Place{&warp_, &instruction, first_lane(mask & ~members), 0},
                      "the member mask is " + hex(members));
    }
    if ((members & warp_.lanes & ~warp_.live) != 0) {
      machine_.report(FindingKind::kMaskNamesExitedLane,
                      Place{&warp_, &instruction, first_lane(mask), 0},
                      "the member mask is " + hex(members) + ", live lanes are " + hex(warp_.live));
    }
    return members & warp_.live;
  }

  // bar.warp.sync joins lanes that are at different ones of them, if they name the same lanes.
  void open_warp_barrier(uint32_t members) {
    uint32_t arrived = 0;
    const auto is_member = [&](const Group& group) {
      return group.waiting && code_[group.pc].kind == Kind::kWarpBarrier &&
             (group.mask & members) != 0;
    };
    for (const Group& group : warp_.groups) {
      if (is_member(group)) arrived |= group.mask;
    }
    if ((members & ~arrived) != 0) return;
    for (Group& group : warp_.groups) {
      if (!is_member(group)) continue;
      advance_time(warp_, code_[group.pc]);
      ++group.pc;
      group.waiting = false;
    }
  }

  void arrive(const Instruction& instruction, uint32_t mask) {
    const uint32_t lane = first_lane(mask);
    warp_.at_barrier = true;
    warp_.barrier = instruction.sources > 0 ? source<uint32_t>(warp_, instruction, 0)[lane] : 0;
    const bool votes = instruction.option != 0;
    const size_t numbers = instruction.sources - (votes ? 1u : 0u);
    warp_.barrier_threads = numbers > 1 ? source<uint32_t>(warp_, instruction, 1)[lane] : 0;
    if (votes) warp_.barrier_votes = predicate(warp_, instruction, numbers) & mask;
    yields_ = true;
  }

  Warp& warp_;
  Machine& machine_;
  const Instruction* code_;
  uint64_t branches_left_;
  bool check_registers_;
  bool yields_ = false;
};

}  // namespace

void run_warp(Warp& warp, uint64_t branches_max) { WarpRunner(warp, branches_max).run(); }

}  // namespace sluice::ptx
