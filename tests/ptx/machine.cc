// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/machine.h"

#include <algorithm>
#include <cstring>

#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

// What memory of a block holds before it is written: a NaN in every float format.
constexpr auto kPoison = static_cast<std::byte>(0xff);

uint32_t coordinate(uint32_t index, const Dim& dim, uint32_t axis) {
  if (axis == 0) return index % dim.x;
  if (axis == 1) return index / dim.x % dim.y;
  return index / dim.x / dim.y;
}
uint32_t component(const Dim& dim, uint32_t axis) {
  return axis == 0 ? dim.x : axis == 1 ? dim.y : dim.z;
}

uint64_t special_value(const Warp& warp, Special special, uint32_t lane) {
  const Machine& machine = warp.block->machine;
  const LaunchShape& shape = machine.shape;
  const auto index = static_cast<uint32_t>(special);
  const uint32_t thread = warp.id * kLanes + lane;
  if (special <= Special::kTidZ) return coordinate(thread, shape.block, index);
  if (special <= Special::kNtidZ) return component(shape.block, index - 3);
  if (special <= Special::kCtaidZ) return component(warp.block->position, index - 6);
  if (special <= Special::kNctaidZ) return component(shape.grid, index - 9);
  const uint64_t bit = uint64_t{1} << lane;
  switch (special) {
    case Special::kLaneId:
      return lane;
    case Special::kWarpId:
      return warp.id;
    case Special::kNwarpId:
      return machine.warps_per_block;
    case Special::kLanemaskEq:
      return bit;
    case Special::kLanemaskLt:
      return bit - 1;
    case Special::kLanemaskLe:
      return 2 * bit - 1;
    case Special::kLanemaskGt:
      return ~(2 * bit - 1);
    case Special::kLanemaskGe:
      return ~(bit - 1);
    case Special::kDynamicSharedBytes:
      return shape.shared_dynamic_bytes;
    case Special::kTotalSharedBytes:
      return warp.block->shared.size();
    case Special::kGridId:
      return machine.launch_id;
    case Special::kSmId:
      return 0;
    case Special::kNsmId:
      return 1;
    case Special::kClusterRank:
      return warp.block->rank;
    case Special::kClusterBlocks:
      return shape.cluster.count();
    default:
      break;
  }
  // Coordinates in the cluster, then its size.
  const auto axis = index - static_cast<uint32_t>(Special::kClusterCtaidX);
  if (special >= Special::kClusterNctaidX) return component(shape.cluster, axis - 3);
  if (special < Special::kClusterCtaidX) return 0;
  return component(warp.block->position, axis) % component(shape.cluster, axis);
}

void set_specials(Warp& warp) {
  for (const SpecialRow& row : warp.block->machine.kernel.specials) {
    const bool wide = row.special == Special::kClock64 || row.special == Special::kGlobalTimer ||
                      row.special == Special::kGridId;
    const size_t width = wide ? 8 : 4;
    std::byte* values = warp.registers + row.row;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint64_t value = special_value(warp, row.special, lane);
      std::memcpy(values + width * lane, &value, width);
    }
  }
}

void set_constants(Warp& warp) {
  for (const ConstantRow& constant : warp.block->machine.kernel.constants) {
    std::byte* values = warp.registers + constant.row;
    if (constant.width == 0) {
      std::memcpy(values, &constant.value, 4);
      continue;
    }
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      std::memcpy(values + constant.width * lane, &constant.value, constant.width);
    }
  }
}

void start_warp(Warp& warp) {
  Block& block = *warp.block;
  const Machine& machine = block.machine;
  const auto threads = static_cast<uint32_t>(machine.shape.block.count());
  const uint32_t lanes = std::min(kLanes, threads - warp.id * kLanes);
  warp.lanes = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
  warp.live = warp.lanes;
  warp.groups.assign(1, Group{.pc = 0, .mask = warp.lanes});
  warp.done = false;
  warp.at_barrier = false;
  warp.rotates = false;
  warp.cluster_phase = ClusterPhase::kNone;
  warp.at_cluster_barrier = false;
  warp.cluster_seen.reset();
  warp.knowledge = Knowledge{.block = block.id, .warp = warp.id};
  warp.published.reset();
  warp.published_to_host.reset();
  warp.acquirable.reset();
  warp.waited = 0;
  warp.copies.clear();
  warp.groups_committed.fill(0);
  warp.local.assign(machine.kernel.local_bytes * kLanes, kPoison);
  if (machine.options.check_registers) warp.assigned = machine.assigned_at_start;
  set_specials(warp);
}

}  // namespace

Block::Block(Machine& owner)
    : machine(owner),
      shared(owner.kernel.shared_bytes + owner.shape.shared_dynamic_bytes),
      shared_shadow(owner.options.check_memory ? shared.size() : 0),
      copies_pending((shared.size() + 3) / 4, 0),
      warps(owner.warps_per_block),
      order(owner.warps_per_block) {
  for (uint32_t i = 0; i < warps.size(); ++i) {
    Warp& warp = warps[i];
    order[i] = i;
    warp.block = this;
    warp.id = i;
    const size_t bytes = owner.kernel.register_bytes + 32;
    warp.register_storage.assign(bytes, std::byte{0xee});
    void* start = warp.register_storage.data();
    size_t room = bytes;
    warp.registers =
        static_cast<std::byte*>(std::align(32, owner.kernel.register_bytes, start, room));
    set_constants(warp);
  }
}

void start_block(Block& block, uint32_t id) {
  const Dim& grid = block.machine.shape.grid;
  block.id = id;
  block.position = {coordinate(id, grid, 0), coordinate(id, grid, 1), coordinate(id, grid, 2)};
  block.done = false;
  std::fill(block.shared.begin(), block.shared.end(), kPoison);
  block.shared_shadow.reset();
  std::fill(block.copies_pending.begin(), block.copies_pending.end(), uint16_t{0});
  block.copies_pending_total = 0;
  for (Warp& warp : block.warps) start_warp(warp);
}

Machine::Machine(Memory& its_memory, const Kernel& its_kernel, const LaunchShape& its_shape,
                 std::span<const std::byte> its_arguments, const LaunchOptions& its_options)
    : memory(its_memory),
      kernel(its_kernel),
      shape(its_shape),
      arguments(its_arguments),
      options(its_options),
      launch_id(its_memory.next_launch()),
      warps_per_block(static_cast<uint32_t>((its_shape.block.count() + kLanes - 1) / kLanes)),
      assigned_at_start((its_kernel.register_bytes + 31) / 32, 0),
      prng(its_options.seed) {
  for (const ConstantRow& row : kernel.constants) assigned_at_start[row.row / 32] = kAllLanes;
  for (const SpecialRow& row : kernel.specials) assigned_at_start[row.row / 32] = kAllLanes;
}

bool Machine::is_new(FindingKind kind, const Place& place) const {
  return !findings.contains({kind, index_of(*place.instruction)});
}

void Machine::report(FindingKind kind, const Place& place, const std::string& text) {
  Finding& finding = findings[{kind, index_of(*place.instruction)}];
  if (++finding.count > 1) return;
  finding.kind = kind;
  finding.kernel = kernel.name;
  finding.line = place.instruction->line;
  finding.source_line = place.instruction->source_line;
  finding.block = place.warp->block->id;
  finding.warp = place.warp->id;
  finding.lane = place.lane;
  finding.address = place.address;
  finding.text = text + ": " + instruction_text(*place.instruction);
}

void Machine::stop(FindingKind kind, const Place& place, const std::string& text) {
  report(kind, place, text);
  stopped = true;
}

}  // namespace sluice::ptx
