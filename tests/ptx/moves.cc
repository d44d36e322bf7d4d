// SPDX-License-Identifier: Apache-2.0
// mov in its forms, addresses of windows, and instructions that change no register.
#include "tests/ptx/handlers.h"
#include "tests/ptx/pick.h"

namespace sluice::ptx {
namespace {

struct Same {
  template <class T>
  static T apply(T a) {
    return a;
  }
};

// Whole from parts of P each, the first one lowest.
template <class P, class Whole>
void run_pack(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Results<Whole> results = {};
  for (size_t k = 0; k < instruction.sources; ++k) {
    const P* part = source<P>(warp, instruction, k);
    for (uint32_t i = 0; i < kLanes; ++i) {
      const auto wide = static_cast<Whole>(part[i]);
      results.lane[i] = static_cast<Whole>(results.lane[i] | wide << (8 * sizeof(P) * k));
    }
  }
  results.commit(warp, instruction, mask);
}

template <class P, class Whole>
void run_unpack(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Whole whole[kLanes];
  std::memcpy(whole, source<Whole>(warp, instruction, 0), sizeof whole);
  for (size_t k = 0; k < instruction.destinations; ++k) {
    Results<P> results;
    for (uint32_t i = 0; i < kLanes; ++i) {
      results.lane[i] = static_cast<P>(whole[i] >> (8 * sizeof(P) * k));
    }
    results.commit(warp, instruction, mask, k);
  }
}

uint64_t window_of(Space space) {
  if (space == Space::kShared) return kSharedWindow;
  return space == Space::kLocal ? kLocalWindow : 0;
}

}  // namespace

Handler mov_handler(Type type) { return pick_bits<Unary, Same>(type); }

Handler pack_handler(Type whole, size_t parts) {
  if (size_of(whole) == 4 && parts == 2) return &run_pack<uint16_t, uint32_t>;
  if (size_of(whole) == 8 && parts == 2) return &run_pack<uint32_t, uint64_t>;
  if (size_of(whole) == 8 && parts == 4) return &run_pack<uint16_t, uint64_t>;
  return nullptr;
}

Handler unpack_handler(Type whole, size_t parts) {
  if (size_of(whole) == 4 && parts == 2) return &run_unpack<uint16_t, uint32_t>;
  if (size_of(whole) == 8 && parts == 2) return &run_unpack<uint32_t, uint64_t>;
  if (size_of(whole) == 8 && parts == 4) return &run_unpack<uint16_t, uint64_t>;
  return nullptr;
}

void run_cvta(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint64_t window = window_of(instruction.space);
  const uint64_t* a = source<uint64_t>(warp, instruction, 0);
  Results<uint64_t> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    results.lane[i] = instruction.option != 0 ? a[i] - window : a[i] + window;
  }
  results.commit(warp, instruction, mask);
}

namespace {

template <class T>
void run_mapa(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const T* a = source<T>(warp, instruction, 0);
  const uint32_t* rank = source<uint32_t>(warp, instruction, 1);
  Results<T> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    results.lane[i] = static_cast<T>(a[i] + (static_cast<T>(rank[i] + 1) << kRankShift));
  }
  results.commit(warp, instruction, mask);
}

}  // namespace

Handler mapa_handler(Type type) {
  if (size_of(type) == 8) return &run_mapa<uint64_t>;
  return size_of(type) == 4 ? &run_mapa<uint32_t> : nullptr;
}

void run_isspacep(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint64_t* a = source<uint64_t>(warp, instruction, 0);
  uint32_t lanes = 0;
  for (uint32_t i = 0; i < kLanes; ++i) {
    const uint64_t window = a[i] & kWindowMask;
    const bool inside = instruction.space == Space::kGlobal
                            ? window != kSharedWindow && window != kLocalWindow
                            : window == window_of(instruction.space);
    lanes |= static_cast<uint32_t>(inside) << i;
  }
  set_predicate(warp, instruction, 0, mask, lanes);
}

void run_clock(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint64_t now = warp.block->machine.counters.warp_instructions;
  std::byte* row = warp.registers + instruction.d[0];
  const size_t bytes = instruction.register_bytes;
  for_each_lane(mask, [&](uint32_t i) { std::memcpy(row + bytes * i, &now, bytes); });
}

void run_nothing(Warp& /*warp*/, const Instruction& /*instruction*/, uint32_t /*mask*/) {}

// What the warp knows is now what its next strong writes publish, and what its strong reads have
// seen published happened before.
void run_fence(Warp& warp, const Instruction& instruction, uint32_t /*mask*/) {
  if (!warp.block->machine.options.check_memory) return;
  warp.knowledge.join_foreign(warp.acquirable);
  warp.acquirable.reset();
  warp.published = warp.knowledge.publish();
  if (instruction.option != 0) warp.published_to_host = warp.published;
}

void run_wait_for_grids(Warp& warp, const Instruction& /*instruction*/, uint32_t mask) {
  warp.waited |= mask;
}

void run_trap(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto lane = static_cast<uint32_t>(std::countr_zero(mask));
  warp.block->machine.stop(FindingKind::kTrap, Place{&warp, &instruction, lane, 0},
                           instruction.option != 0 ? "an assert failed" : "the kernel gave up");
}

void run_unsupported(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto lane = static_cast<uint32_t>(std::countr_zero(mask));
  warp.block->machine.stop(FindingKind::kUnsupported, Place{&warp, &instruction, lane, 0},
                           "the interpreter does not know this instruction");
}

}  // namespace sluice::ptx
