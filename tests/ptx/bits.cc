// SPDX-License-Identifier: Apache-2.0
// Instructions on bits: logic, shifts, fields, permutations.
#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#include "tests/ptx/handlers.h"
#include "tests/ptx/pick.h"

namespace sluice::ptx {
namespace {

struct And {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct Or {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct Xor {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};
struct Not {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(~a);
  }
};
struct LogicalNot {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(a == 0 ? 1 : 0);
  }
};
struct Reverse {
  template <class T>
  static T apply(T a) {
    uint64_t result = 0;
    for (size_t i = 0; i < 8 * sizeof(T); ++i) {
      result = (result << 1) | ((static_cast<uint64_t>(a) >> i) & 1u);
    }
    return static_cast<T>(result);
  }
};

// The amount of a shift is 32 bits wide whatever is shifted; all that is too much is the width.
struct ShiftLeft {
  template <class T, class>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = source<T>(warp, instruction, 0);
    const uint32_t* amount = source<uint32_t>(warp, instruction, 1);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) {
      const uint64_t shifted = static_cast<uint64_t>(a[i]) << (amount[i] & 63u);
      results.lane[i] = static_cast<T>(amount[i] < 8 * sizeof(T) ? shifted : 0);
    }
    results.commit(warp, instruction, mask);
  }
};
struct ShiftRight {
  template <class T, class>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    constexpr uint32_t kMax = 8 * sizeof(T) - 1;
    const T* a = source<T>(warp, instruction, 0);
    const uint32_t* amount = source<uint32_t>(warp, instruction, 1);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) {
      const T shifted = static_cast<T>(a[i] >> std::min(amount[i], kMax));
      results.lane[i] = std::is_signed_v<T> || amount[i] <= kMax ? shifted : T{0};
    }
    results.commit(warp, instruction, mask);
  }
};

// The destination is 32 bits whatever is counted.
struct Count {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = source<T>(warp, instruction, 0);
    Results<uint32_t> results;
    for (uint32_t i = 0; i < kLanes; ++i) {
      results.lane[i] = static_cast<uint32_t>(Operation::apply(a[i]));
    }
    results.commit(warp, instruction, mask);
  }
};
struct Ones {
  template <class T>
  static int apply(T a) {
    return std::popcount(static_cast<std::make_unsigned_t<T>>(a));
  }
};
struct LeadingZeros {
  template <class T>
  static int apply(T a) {
    return std::countl_zero(static_cast<std::make_unsigned_t<T>>(a));
  }
};
// bfind: the place of the highest bit that differs from the sign, or all ones.
struct HighestBit {
  template <class T>
  static int apply(T a) {
    using U = std::make_unsigned_t<T>;
    const auto bits = static_cast<U>(std::is_signed_v<T> && a < 0 ? ~a : a);
    return static_cast<int>(std::bit_width(bits)) - 1;
  }
};

// A field of `length` bits at `position`; beyond the value it is filled with the sign.
struct ExtractField {
  template <class T, class>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    constexpr uint32_t kBits = 8 * sizeof(T);
    using U = std::make_unsigned_t<T>;
    const T* a = source<T>(warp, instruction, 0);
    const uint32_t* position = source<uint32_t>(warp, instruction, 1);
    const uint32_t* length = source<uint32_t>(warp, instruction, 2);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) {
      const uint32_t begin = position[i] & 255u;
      const uint32_t count = length[i] & 255u;
      const U value = static_cast<U>(a[i]);
      U field = begin < kBits ? static_cast<U>(value >> begin) : U{0};
      const uint32_t kept = std::min(count, kBits - std::min(begin, kBits));
      const U ones =
          kept >= kBits ? std::numeric_limits<U>::max() : static_cast<U>((uint64_t{1} << kept) - 1);
      const uint32_t sign_at = std::min(begin + count - 1, kBits - 1);
      const bool sign = std::is_signed_v<T> && count > 0 && (value >> sign_at & 1u) != 0;
      field = static_cast<U>(field & ones);
      results.lane[i] = static_cast<T>(sign ? static_cast<U>(field | ~ones) : field);
    }
    results.commit(warp, instruction, mask);
  }
};
struct InsertField {
  template <class T, class>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    constexpr uint32_t kBits = 8 * sizeof(T);
    const T* a = source<T>(warp, instruction, 0);
    const T* b = source<T>(warp, instruction, 1);
    const uint32_t* position = source<uint32_t>(warp, instruction, 2);
    const uint32_t* length = source<uint32_t>(warp, instruction, 3);
    Results<T> results;
    for (uint32_t i = 0; i < kLanes; ++i) {
      const uint32_t begin = std::min(position[i] & 255u, kBits);
      const uint32_t kept = std::min(length[i] & 255u, kBits - begin);
      if (kept == 0) {
        results.lane[i] = b[i];
        continue;
      }
      const auto ones = static_cast<T>((~uint64_t{0} >> (64 - kept)) << begin);
      results.lane[i] = static_cast<T>((b[i] & ~ones) | (static_cast<T>(a[i] << begin) & ones));
    }
    results.commit(warp, instruction, mask);
  }
};

// prmt: each nibble of c chooses one of eight bytes, or copies of its sign.
void run_permute(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t* a = source<uint32_t>(warp, instruction, 0);
  const uint32_t* b = source<uint32_t>(warp, instruction, 1);
  const uint32_t* c = source<uint32_t>(warp, instruction, 2);
  Results<uint32_t> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    const uint64_t bytes = a[i] | static_cast<uint64_t>(b[i]) << 32;
    uint32_t result = 0;
    for (uint32_t k = 0; k < 4; ++k) {
      const uint32_t select = c[i] >> (4 * k);
      uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (select & 7u))) & 0xffu;
      if ((select & 8u) != 0) byte = (byte & 0x80u) != 0 ? 0xffu : 0u;
      result |= byte << (8 * k);
    }
    results.lane[i] = result;
  }
  results.commit(warp, instruction, mask);
}

// lop3: bit (4a + 2b + c) of the table, for each bit.
void run_logic_table(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t* a = source<uint32_t>(warp, instruction, 0);
  const uint32_t* b = source<uint32_t>(warp, instruction, 1);
  const uint32_t* c = source<uint32_t>(warp, instruction, 2);
  const uint32_t table = source<uint32_t>(warp, instruction, 3)[0];
  Results<uint32_t> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    uint32_t result = 0;
    for (uint32_t k = 0; k < 8; ++k) {
      if ((table >> k & 1u) == 0) continue;
      result |= ((k & 4u) != 0 ? a[i] : ~a[i]) & ((k & 2u) != 0 ? b[i] : ~b[i]) &
                ((k & 1u) != 0 ? c[i] : ~c[i]);
    }
    results.lane[i] = result;
  }
  results.commit(warp, instruction, mask);
}

// shf: the 64 bits b:a shifted; to the right the lower word is the result, else the upper one.
void run_funnel(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t* a = source<uint32_t>(warp, instruction, 0);
  const uint32_t* b = source<uint32_t>(warp, instruction, 1);
  const uint32_t* c = source<uint32_t>(warp, instruction, 2);
  Results<uint32_t> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    const uint64_t both = a[i] | static_cast<uint64_t>(b[i]) << 32;
    const uint32_t amount = instruction.option_2 != 0 ? std::min(c[i], 32u) : c[i] & 31u;
    results.lane[i] = instruction.option != 0 ? static_cast<uint32_t>(both >> amount)
                                              : static_cast<uint32_t>((both << amount) >> 32);
  }
  results.commit(warp, instruction, mask);
}

}  // namespace

Handler bits_handler(const Opcode& opcode) {
  const Type type = opcode.type();
  const std::string_view name = opcode.name;
  if (name == "and") return pick_bits<Binary, And>(type);
  if (name == "or") return pick_bits<Binary, Or>(type);
  if (name == "xor") return pick_bits<Binary, Xor>(type);
  if (name == "not") return pick_bits<Unary, Not>(type);
  if (name == "cnot") return pick_bits<Unary, LogicalNot>(type);
  if (name == "brev") return pick_bits<Unary, Reverse>(type);
  if (name == "shl") return pick_bits<ShiftLeft, void>(type);
  if (name == "shr") return pick_integer<ShiftRight, void>(type);
  if (name == "popc") return pick_bits<Count, Ones>(type);
  if (name == "clz") return pick_bits<Count, LeadingZeros>(type);
  if (name == "bfind" && !opcode.has("shiftamt")) return pick_integer<Count, HighestBit>(type);
  if (name == "bfe") return pick_integer<ExtractField, void>(type);
  if (name == "bfi") return pick_bits<InsertField, void>(type);
  if (name == "prmt") return opcode.parts.size() == 2 ? &run_permute : nullptr;
  if (name == "lop3") return opcode.parts.size() == 2 ? &run_logic_table : nullptr;
  if (name == "shf") return &run_funnel;
  return nullptr;
}

}  // namespace sluice::ptx
