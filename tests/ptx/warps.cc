// SPDX-License-Identifier: Apache-2.0
// Instructions that lanes execute together. The scheduler has brought the lanes of the member mask
// to the same place; `mask` holds those of them that execute.
#include <bit>
#include <string>

#include "tests/ptx/handlers.h"
#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

struct ShuffleSource {
  uint32_t lane = 0;
  bool in_range = false;
};

// Which lane shfl reads for `lane`: c holds the clamp in its low bits and the segment mask above.
ShuffleSource shuffle_source(int32_t mode, uint32_t lane, uint32_t b, uint32_t c) {
  const uint32_t step = b & 31u;
  const uint32_t clamp = c & 31u;
  const uint32_t segment = c >> 8 & 31u;
  const uint32_t first = lane & segment;
  const uint32_t limit = first | (clamp & ~segment);
  switch (mode) {
    case 0: {
      const int64_t from = int64_t{lane} - int64_t{step};
      return {static_cast<uint32_t>(from), from >= int64_t{limit}};
    }
    case 1:
      return {lane + step, lane + step <= limit};
    case 2:
      return {lane ^ step, (lane ^ step) <= limit};
    default: {
      const uint32_t from = first | (step & ~segment);
      return {from, from <= limit};
    }
  }
}

}  // namespace

void run_shuffle(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t* values = source<uint32_t>(warp, instruction, 0);
  const uint32_t* b = source<uint32_t>(warp, instruction, 1);
  const uint32_t* c = source<uint32_t>(warp, instruction, 2);
  Results<uint32_t> results = {};
  uint32_t in_range = 0;
  for_each_lane(mask, [&](uint32_t lane) {
    ShuffleSource from = shuffle_source(instruction.option, lane, b[lane], c[lane]);
    if (!from.in_range) from.lane = lane;
    in_range |= static_cast<uint32_t>(from.in_range) << lane;
    if ((mask >> from.lane & 1u) == 0) {
      warp.block->machine.report(
          FindingKind::kInactiveSource, Place{&warp, &instruction, lane, 0},
          "reads lane " + std::to_string(from.lane) + ", which takes no part");
    }
    results.lane[lane] = values[from.lane];
  });
  results.commit(warp, instruction, mask);
  if (instruction.destinations > 1) set_predicate(warp, instruction, 1, mask, in_range);
}

void run_vote(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t yes = predicate(warp, instruction, 0) & mask;
  switch (instruction.option) {
    case 0:
      set_predicate(warp, instruction, 0, mask, yes == mask ? kAllLanes : 0);
      return;
    case 1:
      set_predicate(warp, instruction, 0, mask, yes != 0 ? kAllLanes : 0);
      return;
    case 2:
      set_predicate(warp, instruction, 0, mask, yes == mask || yes == 0 ? kAllLanes : 0);
      return;
    default: {
      Results<uint32_t> results;
      for (uint32_t& value : results.lane) value = yes;
      results.commit(warp, instruction, mask);
    }
  }
}

void run_match(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const bool wide = size_of(instruction.type) == 8;
  const auto value = [&](uint32_t lane) {
    return wide ? source<uint64_t>(warp, instruction, 0)[lane]
                : uint64_t{source<uint32_t>(warp, instruction, 0)[lane]};
  };
  Results<uint32_t> results = {};
  bool all = true;
  for_each_lane(mask, [&](uint32_t lane) {
    uint32_t equal = 0;
    for_each_lane(mask, [&](uint32_t other) {
      equal |= static_cast<uint32_t>(value(other) == value(lane)) << other;
    });
    all = all && equal == mask;
    results.lane[lane] = equal;
  });
  if (instruction.option != 0) {
    for (uint32_t& lane : results.lane) lane = all ? mask : 0;
    if (instruction.destinations > 1)
      set_predicate(warp, instruction, 1, mask, all ? kAllLanes : 0);
  }
  results.commit(warp, instruction, mask);
}

void run_activemask(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Results<uint32_t> results;
  for (uint32_t& value : results.lane) value = mask;
  results.commit(warp, instruction, mask);
}

void run_elect(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto leader = static_cast<uint32_t>(std::countr_zero(mask));
  Results<uint32_t> results;
  for (uint32_t& value : results.lane) value = leader;
  results.commit(warp, instruction, mask);
  set_predicate(warp, instruction, 1, mask, 1u << leader);
}

}  // namespace sluice::ptx
