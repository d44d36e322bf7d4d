// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/access.h"

#include <cstring>
#include <string>

#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

std::string verb(const Access& wanted) {
  if (wanted.reads && wanted.writes) return "atomic update";
  return wanted.writes ? "write" : "read";
}

Record record_of(const Warp& warp, const Instruction& instruction, uint32_t lane) {
  const Machine& machine = warp.block->machine;
  return pack({warp.block->id, warp.id, lane, instruction.strong, warp.knowledge.time,
               machine.index_of(instruction)});
}

// "4-byte write of shared byte 16 against the read by ..."
std::string conflict_text(const Machine& machine, const Access& wanted, const std::string& where,
                          const Touch& touch) {
  const Record other = touch.conflict;
  const std::string lane =
      lane_of(other) == kSeveralLanes ? "several lanes" : "lane " + std::to_string(lane_of(other));
  return std::to_string(wanted.bytes) + "-byte " + verb(wanted) + " of " + where + " against the " +
         (touch.conflict_is_write ? "write" : "read") + " by block " +
         std::to_string(block_of(other)) + " warp " + std::to_string(warp_of(other)) + " " + lane +
         " (PTX line " + std::to_string(machine.kernel.code[place_of(other)].line) +
         "), which nothing orders";
}

FindingKind conflict_kind(const Warp& warp, Record other, bool shared) {
  if (block_of(other) != warp.block->id) return FindingKind::kBlockRace;
  if (warp_of(other) == warp.id) return FindingKind::kWarpRace;
  return shared ? FindingKind::kSharedRace : FindingKind::kGlobalRace;
}

// Lanes of one store that write the same value to the same place do no harm.
bool is_harmless(const Warp& warp, const Instruction& instruction, const Access& wanted,
                 const Touch& touch, const std::byte* bytes) {
  const Record other = touch.conflict;
  return wanted.value != nullptr && touch.conflict_is_write && block_of(other) == warp.block->id &&
         warp_of(other) == warp.id && time_of(other) == warp.knowledge.time &&
         place_of(other) == warp.block->machine.index_of(instruction) &&
         std::memcmp(bytes, wanted.value, wanted.bytes) == 0;
}

void report_touch(Warp& warp, const Place& place, const Access& wanted, const Touch& touch,
                  const std::string& where, bool shared) {
  Machine& machine = warp.block->machine;
  if (touch.conflict != 0) {
    const FindingKind kind = conflict_kind(warp, touch.conflict, shared);
    machine.report(kind, place, conflict_text(machine, wanted, where, touch));
  }
  if (touch.uninitialised && shared && wanted.reads) {
    machine.report(FindingKind::kUninitialisedShared, place,
                   std::to_string(wanted.bytes) + "-byte " + verb(wanted) + " of " + where +
                       ", which nobody has written");
  }
}

std::byte* out_of_bounds(Warp& warp, const Place& place, const Access& wanted,
                         const std::string& where) {
  warp.block->machine.report(
      FindingKind::kOutOfBounds, place,
      std::to_string(wanted.bytes) + "-byte " + verb(wanted) + " at " + where);
  return nullptr;
}

// Whose shared memory an address of the cluster is in; null if there is no such block any more.
Block* owner_of(Block& block, uint64_t address) {
  const uint64_t rank = address >> kRankShift & 0xffu;
  if (rank == 0) return &block;
  if (rank > block.cluster->blocks.size()) return nullptr;
  Block* owner = block.cluster->blocks[rank - 1].get();
  return owner->done ? nullptr : owner;
}

std::byte* access_shared(Warp& warp, const Instruction& instruction, uint32_t lane,
                         const Access& wanted, const Place& place) {
  Block* owner = warp.block;
  uint64_t offset = wanted.address & 0xffffffffu;
  if (wanted.space == Space::kSharedCluster) {
    owner = owner_of(*warp.block, wanted.address);
    offset &= (uint64_t{1} << kRankShift) - 1;
    if (owner == nullptr) {
      return out_of_bounds(warp, place, wanted, "shared memory of a block that is not there");
    }
  }
  if (offset + wanted.bytes > owner->shared.size()) {
    return out_of_bounds(
        warp, place, wanted,
        "shared byte " + std::to_string(offset) + " of " + std::to_string(owner->shared.size()));
  }
  Machine& machine = owner->machine;
  if (wanted.reads) machine.counters.shared_bytes_read += wanted.bytes;
  if (wanted.writes) machine.counters.shared_bytes_written += wanted.bytes;
  if (machine.options.check_memory) {
    Access inside = wanted;
    inside.address = offset;
    check_shared(*owner, warp, instruction, lane, inside);
  }
  return owner->shared.data() + offset;
}

ShadowPage& page_of(Machine& machine, Region& region, size_t index) {
  std::unique_ptr<ShadowPage>& page = region.pages[index];
  if (!page) page = std::make_unique<ShadowPage>();
  if (page->launch != machine.launch_id) {
    page->launch = machine.launch_id;
    page->read.reset();
    page->written.reset();
    if (page->shadow) page->shadow->reset();
  }
  if (!page->shadow && !region.read_only) page->shadow = std::make_unique<Shadow>(PageBits::kBytes);
  return *page;
}

// The part of an access that lies in one page.
void check_page(Warp& warp, const Instruction& instruction, const Place& place,
                const Access& wanted, Region& region, size_t offset, size_t bytes) {
  Machine& machine = warp.block->machine;
  ShadowPage& page = page_of(machine, region, offset / PageBits::kBytes);
  const size_t at = offset % PageBits::kBytes;
  if (wanted.reads) page.read.set(at, bytes);
  if (wanted.writes) page.written.set(at, bytes);
  if (!page.shadow) return;
  const Record by = record_of(warp, instruction, place.lane);
  const Touch touch = wanted.writes ? page.shadow->write(at, bytes, by, warp.knowledge)
                                    : page.shadow->read(at, bytes, by, warp.knowledge);
  if (touch.conflict == 0) return;
  if (is_harmless(warp, instruction, wanted, touch, region.host + offset)) return;
  report_touch(warp, place, wanted, touch, machine.memory.locate(region.base + offset), false);
}

void check_global(Warp& warp, const Instruction& instruction, const Place& place,
                  const Access& wanted, Region& region, size_t offset) {
  Machine& machine = warp.block->machine;
  if (wanted.reads && !region.is_written(offset, wanted.bytes)) {
    machine.report(FindingKind::kUninitialisedGlobal, place,
                   std::to_string(wanted.bytes) + "-byte " + verb(wanted) + " of " +
                       machine.memory.locate(wanted.address) + ", which nobody has written");
  }
  size_t at = offset;
  const size_t end = offset + wanted.bytes;
  while (at < end) {
    const size_t page_end = (at / PageBits::kBytes + 1) * PageBits::kBytes;
    const size_t bytes = std::min(end, page_end) - at;
    check_page(warp, instruction, place, wanted, region, at, bytes);
    at += bytes;
  }
}

std::byte* access_global(Warp& warp, const Instruction& instruction, const Access& wanted,
                         const Place& place) {
  Machine& machine = warp.block->machine;
  Region* region = machine.last_region;
  if (region == nullptr || wanted.address < region->base ||
      wanted.address - region->base > region->bytes ||
      wanted.bytes > region->bytes - (wanted.address - region->base)) {
    region = machine.memory.find(wanted.address, wanted.bytes);
    if (region == nullptr) {
      return out_of_bounds(warp, place, wanted, machine.memory.locate(wanted.address));
    }
    machine.last_region = region;
  }
  const size_t offset = wanted.address - region->base;
  if (wanted.writes && region->read_only) {
    machine.report(FindingKind::kReadOnlyWritten, place,
                   verb(wanted) + " of " + machine.memory.locate(wanted.address));
    return nullptr;
  }
  if (wanted.reads) machine.counters.global_bytes_read += wanted.bytes;
  if (wanted.writes) machine.counters.global_bytes_written += wanted.bytes;
  if (machine.options.check_memory) {
    check_early(warp, instruction, place.lane, wanted, *region);
    if (wanted.writes && instruction.strong && region->host_watches) {
      check_published(warp, instruction, place.lane, wanted.address);
    }
    check_global(warp, instruction, place, wanted, *region, offset);
  }
  if (wanted.writes) {
    region->mark_written(offset, wanted.bytes);
    if (region->written_first == 0) region->written_first = machine.launch_id;
  }
  return region->host + offset;
}

}  // namespace

void resolve_generic(Access& wanted) {
  if (wanted.space != Space::kGeneric) return;
  const uint64_t window = wanted.address & kWindowMask;
  wanted.space = window == kSharedWindow  ? Space::kSharedCluster
                 : window == kLocalWindow ? Space::kLocal
                                          : Space::kGlobal;
  if (wanted.space != Space::kGlobal) wanted.address &= ~kWindowMask;
}

void check_shared(Block& block, Warp& warp, const Instruction& instruction, uint32_t lane,
                  const Access& wanted) {
  const size_t offset = wanted.address & 0xffffffffu;
  const Place place{&warp, &instruction, lane, offset};
  const auto where = [&] { return "shared byte " + std::to_string(offset); };
  if (block.copies_pending_total > 0 && !wanted.in_flight) {
    for (size_t word = offset / 4; word <= (offset + wanted.bytes - 1) / 4; ++word) {
      if (block.copies_pending[word] == 0) continue;
      block.machine.report(
          FindingKind::kAsyncHazard, place,
          verb(wanted) + " of " + where() + " while a cp.async to it is under way");
      break;
    }
  }
  const Record by = record_of(warp, instruction, lane);
  const Touch touch = wanted.writes
                          ? block.shared_shadow.write(offset, wanted.bytes, by, warp.knowledge)
                          : block.shared_shadow.read(offset, wanted.bytes, by, warp.knowledge);
  if (touch.conflict == 0 && !(touch.uninitialised && wanted.reads)) return;
  if (touch.conflict != 0 &&
      is_harmless(warp, instruction, wanted, touch, block.shared.data() + offset)) {
    return;
  }
  report_touch(warp, place, wanted, touch, where(), true);
}

void acquire_from(Warp& warp, const Instruction& instruction, uint64_t address) {
  Machine& machine = warp.block->machine;
  const auto found = machine.released.find(address);
  if (found == machine.released.end()) return;
  if (instruction.acquire) {
    warp.knowledge.join_foreign(found->second);
    return;
  }
  Knowledge collected;
  collected.foreign = warp.acquirable;
  collected.join_foreign(found->second);
  warp.acquirable = collected.foreign;
}

void release_to(Warp& warp, const Instruction& instruction, uint64_t address) {
  if (instruction.release) warp.published = warp.knowledge.publish();
  if (!warp.published) return;
  Knowledge all;
  std::shared_ptr<const Foreign>& released = warp.block->machine.released[address];
  all.foreign = released;
  all.join_foreign(warp.published);
  released = all.foreign;
}

std::byte* access(Warp& warp, const Instruction& instruction, uint32_t lane, const Access& asked) {
  Access wanted = asked;
  resolve_generic(wanted);
  const Place place{&warp, &instruction, lane, wanted.address};
  Machine& machine = warp.block->machine;
  if (!wanted.any_alignment && (wanted.address & (wanted.bytes - 1)) != 0) {
    machine.report(FindingKind::kMisaligned, place,
                   std::to_string(wanted.bytes) + "-byte " + verb(wanted) +
                       " at an address that is " + std::to_string(wanted.address % wanted.bytes) +
                       " over a multiple of it");
  }
  switch (wanted.space) {
    case Space::kShared:
    case Space::kSharedCluster:
      return access_shared(warp, instruction, lane, wanted, place);
    case Space::kLocal: {
      const size_t size = machine.kernel.local_bytes;
      if (wanted.address + wanted.bytes > size) {
        return out_of_bounds(warp, place, wanted, "local byte " + std::to_string(wanted.address));
      }
      return warp.local.data() + lane * size + wanted.address;
    }
    case Space::kParam:
      if (wanted.writes || wanted.address + wanted.bytes > machine.arguments.size()) {
        return out_of_bounds(warp, place, wanted,
                             "parameter byte " + std::to_string(wanted.address));
      }
      return const_cast<std::byte*>(machine.arguments.data()) + wanted.address;
    default:
      return access_global(warp, instruction, wanted, place);
  }
}

void Sectors::add(uint64_t address, uint32_t bytes) {
  for (uint64_t sector = address / 32; sector <= (address + bytes - 1) / 32; ++sector) {
    add_one(sector);
  }
}

void Sectors::add_one(uint64_t sector) {
  // Neighbours in the warp are mostly neighbours in memory: the last one is looked at first.
  for (size_t i = count_; i > 0; --i) {
    if (seen_[i - 1] == sector) return;
  }
  if (count_ < seen_.size()) seen_[count_++] = sector;
}

}  // namespace sluice::ptx
