// SPDX-License-Identifier: Apache-2.0
// Comparisons, predicates and selection.
#include <array>
#include <cmath>
#include <optional>
#include <type_traits>

#include "tests/ptx/handlers.h"
#include "tests/ptx/pick.h"

namespace sluice::ptx {
namespace {

constexpr std::array<std::string_view, 18> kNames = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",
                                                     "lo",  "ls",  "hi",  "hs",  "equ", "neu",
                                                     "ltu", "leu", "gtu", "geu", "num", "nan"};

// Values as the comparison sees them.
template <class T>
T value_of(T value) {
  return value;
}
float value_of(Half value) { return to_float(value); }
float value_of(Bfloat value) { return to_float(value); }

template <class T>
bool is_unordered(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(a) || std::isnan(b);
  return false;
}

// The lanes in which `test` holds.
template <class T, class Test>
uint32_t lanes_where(const T* a, const T* b, bool flush, Test test) {
  uint32_t lanes = 0;
  for (uint32_t i = 0; i < kLanes; ++i) {
    auto x = value_of(a[i]);
    auto y = value_of(b[i]);
    if constexpr (std::is_same_v<decltype(x), float>) {
      if (flush && std::abs(x) < 0x1p-126f) x = 0.0f;
      if (flush && std::abs(y) < 0x1p-126f) y = 0.0f;
    }
    lanes |= static_cast<uint32_t>(test(x, y)) << i;
  }
  return lanes;
}

template <class T>
uint32_t compare_lanes(Compare compare, const T* a, const T* b, bool flush) {
  switch (compare) {
    case Compare::kEq:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x == y; });
    case Compare::kNe:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x != y && !is_unordered(x, y); });
    case Compare::kLt:
    case Compare::kLo:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x < y; });
    case Compare::kLe:
    case Compare::kLs:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x <= y; });
    case Compare::kGt:
    case Compare::kHi:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x > y; });
    case Compare::kGe:
    case Compare::kHs:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x >= y; });
    case Compare::kEqu:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x == y || is_unordered(x, y); });
    case Compare::kNeu:
      return lanes_where(a, b, flush, [](auto x, auto y) { return x != y; });
    case Compare::kLtu:
      return lanes_where(a, b, flush, [](auto x, auto y) { return !(x >= y); });
    case Compare::kLeu:
      return lanes_where(a, b, flush, [](auto x, auto y) { return !(x > y); });
    case Compare::kGtu:
      return lanes_where(a, b, flush, [](auto x, auto y) { return !(x <= y); });
    case Compare::kGeu:
      return lanes_where(a, b, flush, [](auto x, auto y) { return !(x < y); });
    case Compare::kNum:
      return lanes_where(a, b, flush, [](auto x, auto y) { return !is_unordered(x, y); });
    case Compare::kNan:
      return lanes_where(a, b, flush, [](auto x, auto y) { return is_unordered(x, y); });
  }
  return 0;
}

uint32_t combine(int32_t how, uint32_t lanes, uint32_t with) {
  switch (how) {
    case 1:
      return lanes & with;
    case 2:
      return lanes | with;
    case 3:
      return lanes ^ with;
    default:
      return lanes;
  }
}

template <class T>
uint32_t compare_sources(const Warp& warp, const Instruction& instruction) {
  return compare_lanes(static_cast<Compare>(instruction.option), source<T>(warp, instruction, 0),
                       source<T>(warp, instruction, 1), instruction.flush);
}

struct SetPredicate {
  template <class T, class>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint32_t lanes = compare_sources<T>(warp, instruction);
    const int32_t how = instruction.option_2;
    const uint32_t with = how != 0 ? predicate(warp, instruction, 2) : 0;
    const uint32_t otherwise = combine(how, ~lanes, with);
    set_predicate(warp, instruction, 0, mask, combine(how, lanes, with));
    if (instruction.destinations > 1) set_predicate(warp, instruction, 1, mask, otherwise);
  }
};

// Of two packed comparisons the first is for the lower halves.
template <class T>
void run_packed(Warp& warp, const Instruction& instruction, uint32_t mask) {
  struct Pair {
    T part[2];
  };
  const Pair* a = source<Pair>(warp, instruction, 0);
  const Pair* b = source<Pair>(warp, instruction, 1);
  for (size_t k = 0; k < 2; ++k) {
    T x[kLanes];
    T y[kLanes];
    for (uint32_t i = 0; i < kLanes; ++i) {
      x[i] = a[i].part[k];
      y[i] = b[i].part[k];
    }
    const uint32_t lanes =
        compare_lanes(static_cast<Compare>(instruction.option), x, y, instruction.flush);
    set_predicate(warp, instruction, k, mask, lanes);
  }
}

struct SetValue {
  template <class T, class>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint32_t lanes = compare_sources<T>(warp, instruction);
    const uint32_t yes = instruction.type_2 == Type::kF32 ? 0x3f800000u : 0xffffffffu;
    Results<uint32_t> results;
    for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = (lanes >> i & 1u) != 0 ? yes : 0u;
    results.commit(warp, instruction, mask);
  }
};

struct Select {
  template <class T, class>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = source<T>(warp, instruction, 0);
    const T* b = source<T>(warp, instruction, 1);
    const uint32_t chosen = predicate(warp, instruction, 2);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = (chosen >> i & 1u) != 0 ? a[i] : b[i];
    results.commit(warp, instruction, mask);
  }
};

template <class Shape>
Handler by_type(Type type) {
  switch (type) {
    case Type::kF16:
      return &Shape::template run<Half, void>;
    case Type::kBf16:
      return &Shape::template run<Bfloat, void>;
    case Type::kF32:
      return &Shape::template run<float, void>;
    case Type::kF64:
      return &Shape::template run<double, void>;
    default:
      return pick_integer<Shape, void>(type);
  }
}

}  // namespace

std::optional<Compare> parse_compare(const Opcode& opcode) {
  if (opcode.parts.size() < 2) return std::nullopt;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == opcode.parts[1]) return static_cast<Compare>(i);
  }
  return std::nullopt;
}

Handler setp_handler(const Opcode& opcode) {
  if (opcode.type() == Type::kF16x2) return &run_packed<Half>;
  if (opcode.type() == Type::kBf16x2) return &run_packed<Bfloat>;
  return by_type<SetPredicate>(opcode.type());
}

Handler set_handler(const Opcode& opcode) {
  const Type result = opcode.type_before();
  const bool known = result == Type::kF32 || result == Type::kU32 || result == Type::kS32;
  return known ? by_type<SetValue>(opcode.type()) : nullptr;
}

Handler selp_handler(const Opcode& opcode) { return pick_bits<Select, void>(opcode.type()); }

void run_predicate(Warp& warp, const Instruction& instruction, uint32_t mask) {
  uint32_t lanes = predicate(warp, instruction, 0);
  const uint32_t with = instruction.sources > 1 ? predicate(warp, instruction, 1) : 0;
  switch (instruction.option) {
    case 0:
      lanes &= with;
      break;
    case 1:
      lanes |= with;
      break;
    case 2:
      lanes ^= with;
      break;
    case 3:
      lanes = ~lanes;
      break;
    default:
      break;
  }
  set_predicate(warp, instruction, 0, mask, lanes);
}

}  // namespace sluice::ptx
