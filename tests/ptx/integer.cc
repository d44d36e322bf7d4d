// SPDX-License-Identifier: Apache-2.0
// Integer arithmetic. Overflow wraps, so everything is computed without sign where that gives the
// same bits.
#include <algorithm>
#include <type_traits>

#include "tests/ptx/handlers.h"
#include "tests/ptx/pick.h"

namespace sluice::ptx {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

// The type that holds every product of two T.
template <class T>
struct WiderOf;
template <>
struct WiderOf<uint16_t> {
  using Type = uint32_t;
};
template <>
struct WiderOf<int16_t> {
  using Type = int32_t;
};
template <>
struct WiderOf<uint32_t> {
  using Type = uint64_t;
};
template <>
struct WiderOf<int32_t> {
  using Type = int64_t;
};
template <>
struct WiderOf<uint64_t> {
  using Type = unsigned __int128;
};
template <>
struct WiderOf<int64_t> {
  using Type = __int128;
};
template <class T>
using Wider = typename WiderOf<T>::Type;

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(uint64_t{Unsigned<T>(a)} + uint64_t{Unsigned<T>(b)});
  }
};
struct Subtract {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(uint64_t{Unsigned<T>(a)} - uint64_t{Unsigned<T>(b)});
  }
};
struct MultiplyLow {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>(uint64_t{Unsigned<T>(a)} * uint64_t{Unsigned<T>(b)});
  }
};
struct MultiplyHigh {
  template <class T>
  static T apply(T a, T b) {
    return static_cast<T>((static_cast<Wider<T>>(a) * static_cast<Wider<T>>(b)) >> (8 * sizeof(T)));
  }
};
struct MultiplyAddLow {
  template <class T>
  static T apply(T a, T b, T c) {
    return Add::apply(MultiplyLow::apply(a, b), c);
  }
};
struct MultiplyAddHigh {
  template <class T>
  static T apply(T a, T b, T c) {
    return Add::apply(MultiplyHigh::apply(a, b), c);
  }
};
// mul24 of operands that fit 24 bits is the low product.
struct Multiply24 {
  template <class T>
  static T apply(T a, T b) {
    const auto cut = [](T x) {
      return static_cast<T>(static_cast<T>(static_cast<Unsigned<T>>(x) << 8) >> 8);
    };
    return MultiplyLow::apply(cut(a), cut(b));
  }
};
// By zero PTX leaves the result open; the lanes that are not active may hold zeros.
struct Divide {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return static_cast<T>(~Unsigned<T>{0});
    if constexpr (std::is_signed_v<T>) {
      if (b == T{-1}) return Subtract::apply(T{0}, a);
    }
    return static_cast<T>(a / b);
  }
};
struct Remainder {
  template <class T>
  static T apply(T a, T b) {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>) {
      if (b == T{-1}) return 0;
    }
    return static_cast<T>(a % b);
  }
};
struct Minimum {
  template <class T>
  static T apply(T a, T b) {
    return b < a ? b : a;
  }
};
struct Maximum {
  template <class T>
  static T apply(T a, T b) {
    return a < b ? b : a;
  }
};
struct Negate {
  template <class T>
  static T apply(T a) {
    return Subtract::apply(T{0}, a);
  }
};
struct Absolute {
  template <class T>
  static T apply(T a) {
    return a < 0 ? Subtract::apply(T{0}, a) : a;
  }
};
struct AbsoluteDifference {
  template <class T>
  static T apply(T a, T b, T c) {
    return Add::apply(c, a < b ? Subtract::apply(b, a) : Subtract::apply(a, b));
  }
};

// mul.wide and mad.wide: factors of T, result and addend twice as wide.
template <class T>
void run_wide(Warp& warp, const Instruction& instruction, uint32_t mask) {
  using Wide = Wider<T>;
  const T* a = source<T>(warp, instruction, 0);
  const T* b = source<T>(warp, instruction, 1);
  Results<Wide> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    results.lane[i] = static_cast<Wide>(static_cast<Wide>(a[i]) * static_cast<Wide>(b[i]));
  }
  if (instruction.sources > 2) {
    const Wide* c = source<Wide>(warp, instruction, 2);
    for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = Add::apply(results.lane[i], c[i]);
  }
  results.commit(warp, instruction, mask);
}

Handler wide_handler(Type type) {
  switch (type) {
    case Type::kU16:
      return &run_wide<uint16_t>;
    case Type::kS16:
      return &run_wide<int16_t>;
    case Type::kU32:
      return &run_wide<uint32_t>;
    case Type::kS32:
      return &run_wide<int32_t>;
    default:
      return nullptr;
  }
}

// dp4a: the sum of four products of bytes. option: 1 if a is signed, 2 if b is.
void run_dot(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto byte = [](uint32_t word, uint32_t k, bool with_sign) {
    const uint32_t value = word >> (8 * k) & 0xffu;
    return with_sign ? static_cast<int32_t>(static_cast<int8_t>(value))
                     : static_cast<int32_t>(value);
  };
  const uint32_t* a = source<uint32_t>(warp, instruction, 0);
  const uint32_t* b = source<uint32_t>(warp, instruction, 1);
  const uint32_t* c = source<uint32_t>(warp, instruction, 2);
  Results<uint32_t> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    uint32_t sum = c[i];
    for (uint32_t k = 0; k < 4; ++k) {
      sum += static_cast<uint32_t>(byte(a[i], k, is_signed(instruction.type_2)) *
                                   byte(b[i], k, is_signed(instruction.type)));
    }
    results.lane[i] = sum;
  }
  results.commit(warp, instruction, mask);
}

Handler multiply_handler(const Opcode& opcode) {
  const bool adds = opcode.name == "mad";
  if (opcode.has("wide")) return wide_handler(opcode.type());
  if (opcode.has("hi")) {
    return adds ? pick_integer<Ternary, MultiplyAddHigh>(opcode.type())
                : pick_integer<Binary, MultiplyHigh>(opcode.type());
  }
  if (!opcode.has("lo")) return nullptr;
  return adds ? pick_integer<Ternary, MultiplyAddLow>(opcode.type())
              : pick_integer<Binary, MultiplyLow>(opcode.type());
}

}  // namespace

Handler integer_handler(const Opcode& opcode) {
  const Type type = opcode.type();
  const std::string_view name = opcode.name;
  if (opcode.has("cc") || opcode.has("sat")) return nullptr;
  if (name == "add") return pick_integer<Binary, Add>(type);
  if (name == "sub") return pick_integer<Binary, Subtract>(type);
  if (name == "mul" || name == "mad") return multiply_handler(opcode);
  if (name == "mul24" && opcode.has("lo")) {
    return size_of(type) == 4 ? pick_integer<Binary, Multiply24>(type) : nullptr;
  }
  if (name == "div") return pick_integer<Binary, Divide>(type);
  if (name == "rem") return pick_integer<Binary, Remainder>(type);
  if (name == "min" && !opcode.has("relu")) return pick_integer<Binary, Minimum>(type);
  if (name == "max" && !opcode.has("relu")) return pick_integer<Binary, Maximum>(type);
  if (name == "neg") return pick_integer<Unary, Negate>(type);
  if (name == "abs" && is_signed(type)) return pick_integer<Unary, Absolute>(type);
  if (name == "sad") return pick_integer<Ternary, AbsoluteDifference>(type);
  if (name == "dp4a") return &run_dot;
  return nullptr;
}

}  // namespace sluice::ptx
