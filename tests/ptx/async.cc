// SPDX-License-Identifier: Apache-2.0
// cp.async. The bytes arrive at the latest moment that is allowed, when the lane waits for them, so
// that a kernel that reads too early gets the old ones; and it is reported.
#include <algorithm>
#include <cstring>

#include "tests/ptx/access.h"
#include "tests/ptx/handlers.h"
#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

void mark_pending(Block& block, const PendingCopy& copy, bool pending) {
  if (!block.machine.options.check_memory) return;
  for (uint32_t at = copy.destination; at < copy.destination + copy.bytes; at += 4) {
    uint16_t& count = block.copies_pending[at / 4];
    count = static_cast<uint16_t>(pending ? count + 1 : count - 1);
  }
  block.copies_pending_total += pending ? size_t{1} : ~size_t{0};
}

void complete(Warp& warp, const Instruction& instruction, const PendingCopy& copy) {
  Block& block = *warp.block;
  mark_pending(block, copy, false);
  Access landing{.space = Space::kShared,
                 .address = copy.destination,
                 .bytes = copy.bytes,
                 .writes = true,
                 .in_flight = true};
  if (block.machine.options.check_memory)
    check_shared(block, warp, instruction, copy.lane, landing);
  std::byte* to = block.shared.data() + copy.destination;
  if (copy.bytes_from > 0) std::memcpy(to, copy.from, copy.bytes_from);
  std::memset(to + copy.bytes_from, 0, copy.bytes - copy.bytes_from);
}

}  // namespace

void run_copy_async(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Block& block = *warp.block;
  const auto bytes = static_cast<uint32_t>(instruction.option);
  const uint64_t* from = source<uint64_t>(warp, instruction, 1);
  const uint32_t* limit =
      instruction.sources > 2 ? source<uint32_t>(warp, instruction, 2) : nullptr;
  Sectors sectors;
  for_each_lane(mask, [&](uint32_t lane) {
    const uint64_t to = instruction.source_bytes == 8
                            ? source<uint64_t>(warp, instruction, 0)[lane]
                            : uint64_t{source<uint32_t>(warp, instruction, 0)[lane]};
    PendingCopy copy{.lane = lane,
                     .group = warp.groups_committed[lane],
                     .bytes = bytes,
                     .bytes_from = limit != nullptr ? std::min(limit[lane], bytes) : bytes};
    Access landing{.space = Space::kShared,
                   .address = (to & 0xffffffffu) + static_cast<uint64_t>(instruction.offset),
                   .bytes = bytes,
                   .writes = true};
    copy.destination = static_cast<uint32_t>(landing.address);
    if (copy.bytes_from > 0) {
      const uint64_t address = from[lane] + static_cast<uint64_t>(instruction.offset_2);
      // A part of the bytes need not be aligned to the whole; the start must be.
      Access reading{.space = Space::kGlobal,
                     .address = address,
                     .bytes = copy.bytes_from,
                     .reads = true,
                     .any_alignment = true};
      if (address % bytes != 0) {
        block.machine.report(FindingKind::kMisaligned, Place{&warp, &instruction, lane, address},
                             "the source of cp.async is not aligned to its size");
      }
      copy.from = access(warp, instruction, lane, reading);
      if (copy.from == nullptr) copy.bytes_from = 0;
      sectors.add(address, bytes);
    }
    if (access(warp, instruction, lane, landing) == nullptr) return;
    mark_pending(block, copy, true);
    warp.copies.push_back(copy);
  });
  block.machine.counters.sectors_read += sectors.count();
}

void run_copy_commit(Warp& warp, const Instruction& /*instruction*/, uint32_t mask) {
  for_each_lane(mask, [&](uint32_t lane) { ++warp.groups_committed[lane]; });
}

void run_copy_wait(Warp& warp, const Instruction& instruction, uint32_t mask) {
  std::vector<PendingCopy> rest;
  for (const PendingCopy& copy : warp.copies) {
    const uint32_t committed = warp.groups_committed[copy.lane];
    const bool is_due = instruction.option < 0 ||
                        copy.group + static_cast<uint32_t>(instruction.option) < committed;
    if ((mask >> copy.lane & 1u) != 0 && is_due) {
      complete(warp, instruction, copy);
    } else {
      rest.push_back(copy);
    }
  }
  warp.copies = std::move(rest);
}

}  // namespace sluice::ptx
