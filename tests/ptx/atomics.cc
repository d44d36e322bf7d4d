// SPDX-License-Identifier: Apache-2.0
// atom, red and redux. Lanes go one after another, in the order of their numbers.
#include <array>
#include <cstring>
#include <type_traits>

#include "tests/ptx/access.h"
#include "tests/ptx/handlers.h"
#include "tests/ptx/lanes.h"

namespace sluice::ptx {
namespace {

enum Operation : int32_t { kAdd, kMin, kMax, kAnd, kOr, kXor, kExchange, kCompareSwap, kInc, kDec };
constexpr std::array<std::string_view, 10> kNames = {"add", "min",  "max", "and", "or",
                                                     "xor", "exch", "cas", "inc", "dec"};

template <class T>
T apply_bits(int32_t operation, T old, T b, T c) {
  switch (operation) {
    case kAnd:
      return static_cast<T>(old & b);
    case kOr:
      return static_cast<T>(old | b);
    case kXor:
      return static_cast<T>(old ^ b);
    case kCompareSwap:
      return old == b ? c : old;
    case kInc:
      return old >= b ? T{0} : static_cast<T>(old + 1);
    case kDec:
      return old == 0 || old > b ? b : static_cast<T>(old - 1);
    default:
      return b;
  }
}

template <class T>
T apply(int32_t operation, T old, T b, T c) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    if (operation == kAdd) return static_cast<T>(static_cast<U>(old) + static_cast<U>(b));
    if (operation == kMin) return b < old ? b : old;
    if (operation == kMax) return old < b ? b : old;
    return static_cast<T>(
        apply_bits<U>(operation, static_cast<U>(old), static_cast<U>(b), static_cast<U>(c)));
  } else if constexpr (std::is_floating_point_v<T>) {
    return operation == kAdd ? old + b : b;
  } else {
    T result = b;
    if (operation != kAdd) return result;
    for (size_t k = 0; k < result.part.size(); ++k) {
      const float sum = to_float(old.part[k]) + to_float(b.part[k]);
      if constexpr (std::is_same_v<decltype(result.part[k]), Half&>) {
        result.part[k] = to_half(sum);
      } else {
        result.part[k] = to_bfloat(sum);
      }
    }
    return result;
  }
}

template <class T, size_t count>
struct Parts {
  std::array<T, count> part;
};

template <class T>
void run_atomic(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Machine& machine = warp.block->machine;
  const T* b = source<T>(warp, instruction, 1);
  const T* c = instruction.sources > 2 ? source<T>(warp, instruction, 2) : b;
  Results<T> results = {};
  Sectors sectors;
  for_each_lane(mask, [&](uint32_t lane) {
    const uint64_t base = instruction.source_bytes == 8
                              ? source<uint64_t>(warp, instruction, 0)[lane]
                              : uint64_t{source<uint32_t>(warp, instruction, 0)[lane]};
    Access wanted{.space = instruction.space,
                  .address = base + static_cast<uint64_t>(instruction.offset),
                  .bytes = sizeof(T),
                  .reads = instruction.option != kExchange,
                  .writes = true};
    resolve_generic(wanted);
    std::byte* at = access(warp, instruction, lane, wanted);
    if (at == nullptr) return;
    T old;
    std::memcpy(&old, at, sizeof old);
    results.lane[lane] = old;
    const T now = apply<T>(instruction.option, old, b[lane], c[lane]);
    std::memcpy(at, &now, sizeof now);
    if (wanted.space != Space::kGlobal) return;
    sectors.add(wanted.address, wanted.bytes);
    if (!machine.options.check_memory) return;
    acquire_from(warp, instruction, wanted.address);
    release_to(warp, instruction, wanted.address);
  });
  machine.counters.sectors_written += sectors.count();
  if (instruction.destinations > 0) results.commit(warp, instruction, mask);
}

template <class T>
void run_redux(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const T* values = source<T>(warp, instruction, 0);
  T total = values[std::countr_zero(mask)];
  for_each_lane(mask & (mask - 1), [&](uint32_t lane) {
    total = apply<T>(instruction.option, total, values[lane], T{});
  });
  Results<T> results;
  for (T& value : results.lane) value = total;
  results.commit(warp, instruction, mask);
}

Handler float_handler(const Opcode& opcode, int32_t operation) {
  if (operation != kAdd) return nullptr;
  switch (opcode.type()) {
    case Type::kF32:
      return &run_atomic<float>;
    case Type::kF64:
      return &run_atomic<double>;
    case Type::kF16:
      return &run_atomic<Parts<Half, 1>>;
    case Type::kBf16:
      return &run_atomic<Parts<Bfloat, 1>>;
    case Type::kF16x2:
      return &run_atomic<Parts<Half, 2>>;
    case Type::kBf16x2:
      return &run_atomic<Parts<Bfloat, 2>>;
    default:
      return nullptr;
  }
}

}  // namespace

std::optional<int32_t> parse_atomic(const Opcode& opcode) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (opcode.has(kNames[i])) return static_cast<int32_t>(i);
  }
  return std::nullopt;
}

Handler atomic_handler(const Opcode& opcode) {
  const std::optional<int32_t> operation = parse_atomic(opcode);
  if (!operation || opcode.has("v2") || opcode.has("v4") || opcode.has("v8")) return nullptr;
  switch (opcode.type()) {
    case Type::kB16:
      return &run_atomic<uint16_t>;
    case Type::kB32:
    case Type::kU32:
      return &run_atomic<uint32_t>;
    case Type::kB64:
    case Type::kU64:
      return &run_atomic<uint64_t>;
    case Type::kS32:
      return &run_atomic<int32_t>;
    case Type::kS64:
      return &run_atomic<int64_t>;
    default:
      return float_handler(opcode, *operation);
  }
}

Handler redux_handler(const Opcode& opcode) {
  if (!parse_atomic(opcode)) return nullptr;
  if (opcode.type() == Type::kS32) return &run_redux<int32_t>;
  const bool bits = opcode.type() == Type::kU32 || opcode.type() == Type::kB32;
  return bits ? &run_redux<uint32_t> : nullptr;
}

}  // namespace sluice::ptx
