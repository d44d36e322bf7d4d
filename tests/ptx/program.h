// SPDX-License-Identifier: Apache-2.0
#pragma once
// A kernel in the form in which it is executed: instructions whose operands are places in a warp's
// register file, with no names left in them.
//
// A register is a row of 32 values, one per lane, as wide as its type; a predicate is a row of one
// word with a bit per lane. Constants and special registers are rows too, so that an instruction
// need not know what its operands are.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/ptx/numbers.h"

namespace sluice::ptx {

constexpr uint32_t kLanes = 32;  // of a warp

struct Warp;
struct Instruction;
// Executes an instruction for the lanes in `mask`, which is not 0.
using Handler = void (*)(Warp& warp, const Instruction& instruction, uint32_t mask);

// Types of PTX. Those of bits are apart from those of numbers only where it matters.
enum class Type : uint8_t {
  kNone,
  kU8,
  kU16,
  kU32,
  kU64,
  kS8,
  kS16,
  kS32,
  kS64,
  kF16,
  kBf16,
  kF32,
  kF64,
  kB8,
  kB16,
  kB32,
  kB64,
  kF16x2,
  kBf16x2,
  kPred,
};
// Bytes of a value; 0 for kNone and kPred.
constexpr size_t size_of(Type type) {
  constexpr std::array<size_t, 20> kSizes = {0, 1, 2, 4, 8, 1, 2, 4, 8, 2,
                                             2, 4, 8, 1, 2, 4, 8, 4, 4, 0};
  return kSizes[static_cast<size_t>(type)];
}
constexpr bool is_signed(Type type) { return type >= Type::kS8 && type <= Type::kS64; }
constexpr bool is_float(Type type) { return type >= Type::kF16 && type <= Type::kF64; }
constexpr bool is_packed(Type type) { return type == Type::kF16x2 || type == Type::kBf16x2; }

// State spaces.
enum class Space : uint8_t { kGeneric, kGlobal, kConst, kShared, kSharedCluster, kLocal, kParam };

// How the scheduler treats an instruction.
enum class Kind : uint8_t {
  kPlain,
  kBranch,       // to `target`
  kBranchTable,  // brx.idx: to tables[target][s[0]]
  kReturn,
  kBarrier,        // of the block; option: a BarrierKind
  kClusterArrive,  // barrier.cluster; release: with what happened before
  kClusterWait,    // acquire
  kWarpBarrier,    // of the lanes in the member mask s[last]
  kWarp,           // executed together by those lanes
  kAligned,        // executed together by all lanes of the warp
};

// What a barrier gives: nothing, or something of the predicate s[last] of all threads.
enum class BarrierKind : uint8_t { kSync, kCount, kAnd, kOr };

// Places in the register file; kNoRow for none, as for `_`.
constexpr uint32_t kNoRow = 0xffffffffu;

struct Instruction {
  Handler handler = nullptr;
  Kind kind = Kind::kPlain;
  Type type = Type::kNone;
  Type type_2 = Type::kNone;  // of the source of cvt, of the factors of mma
  Space space = Space::kGeneric;
  Rounding rounding = Rounding::kNearest;
  bool guard_negated = false;
  bool flush = false;       // .ftz
  bool saturate = false;    // .sat
  bool strong = false;      // volatile, relaxed, acquire, release, atomic
  bool acquire = false;     // orders what follows after what it reads
  bool release = false;     // orders what came before before what it writes
  bool propagates = false;  // copies: an unset source makes the destination unset, no finding
  uint8_t destinations = 0;
  uint8_t sources = 0;
  uint8_t register_bytes = 4;  // ld, st, cvt: of the register, which may be wider than the type
  uint8_t source_bytes = 4;    // cvt: of the source register
  uint16_t negated = 0;        // bit i: source i is a predicate with `!`
  uint32_t guard = kNoRow;
  std::array<uint32_t, 8> d = {};
  std::array<uint32_t, 10> s = {};
  int64_t offset = 0;    // of an address
  int64_t offset_2 = 0;  // of the second address of cp.async
  int32_t option = 0;    // each handler says what it means
  int32_t option_2 = 0;
  uint32_t target = 0;
  uint32_t line = 0;
  uint32_t source_line = 0;
};

// A row that never changes.
struct ConstantRow {
  uint32_t row = 0;
  size_t width = 4;
  uint64_t value = 0;
};

// Registers that the machine sets.
enum class Special : uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneId,
  kWarpId,
  kNwarpId,
  kLanemaskEq,
  kLanemaskLt,
  kLanemaskLe,
  kLanemaskGt,
  kLanemaskGe,
  kDynamicSharedBytes,
  kTotalSharedBytes,
  kGridId,
  kSmId,
  kNsmId,
  kClock,
  kClock64,
  kGlobalTimer,
  kClusterRank,
  kClusterBlocks,
  kClusterCtaidX,
  kClusterCtaidY,
  kClusterCtaidZ,
  kClusterNctaidX,
  kClusterNctaidY,
  kClusterNctaidZ,
};
struct SpecialRow {
  uint32_t row = 0;
  Special special = Special::kTidX;
};

struct Parameter {
  std::string name;
  size_t offset = 0;
  size_t bytes = 0;
};

struct Kernel {
  std::string name;
  std::vector<Instruction> code;
  std::vector<std::string> texts;             // of each instruction, for findings
  std::vector<std::vector<uint32_t>> tables;  // of brx.idx
  std::vector<Parameter> parameters;
  size_t parameter_bytes = 0;
  size_t shared_bytes = 0;  // of static arrays; dynamic ones begin here, at shared_dynamic_align
  size_t shared_dynamic_align = 16;
  size_t local_bytes = 0;                       // per lane
  size_t register_bytes = 0;                    // per warp
  uint32_t threads_max = 0;                     // .maxntid, or 0
  std::array<uint32_t, 3> cluster = {0, 0, 0};  // .reqnctapercluster, or 0
  std::vector<ConstantRow> constants;
  std::vector<SpecialRow> specials;
  std::vector<std::string> unsupported;  // instructions that stop a launch, each with its line
};

}  // namespace sluice::ptx
