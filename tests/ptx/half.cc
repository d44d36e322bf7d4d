// SPDX-License-Identifier: Apache-2.0
// Arithmetic of f16 and bf16, and of pairs of them. A float has more than twice their digits and
// two more, so that a sum, product, quotient or root computed in float and rounded again is right;
// the fused product needs more, and goes through a double rounded to odd.
#include <cmath>
#include <limits>

#include "tests/ptx/handlers.h"
#include "tests/ptx/pick.h"

namespace sluice::ptx {
namespace {

template <class T>
T from_float(float value);
template <>
Half from_float<Half>(float value) {
  return to_half(value);
}
template <>
Bfloat from_float<Bfloat>(float value) {
  return to_bfloat(value);
}
Half round_to(double value, Half) { return to_half(value); }
Bfloat round_to(double value, Bfloat) { return to_bfloat(value); }

// .ftz of f16: subnormals become zeros. bf16 has no such modifier but for ex2, whose range is
// f32's.
Half flushed(Half value) {
  if ((value.bits & 0x7c00u) == 0) value.bits &= 0x8000u;
  return value;
}
Bfloat flushed(Bfloat value) {
  if ((value.bits & 0x7f80u) == 0) value.bits &= 0x8000u;
  return value;
}
template <class T>
T saturated(T value) {
  const float wide = to_float(value);
  return from_float<T>(wide >= 1.0f ? 1.0f : wide > 0.0f ? wide : 0.0f);
}
// .relu: negative numbers become 0, NaN stays.
template <class T>
T rectified(T value) {
  return to_float(value) < 0.0f ? T{0} : value;
}

struct Add {
  template <class T>
  static T apply(T a, T b) {
    return from_float<T>(to_float(a) + to_float(b));
  }
};
struct Subtract {
  template <class T>
  static T apply(T a, T b) {
    return from_float<T>(to_float(a) - to_float(b));
  }
};
struct Multiply {
  template <class T>
  static T apply(T a, T b) {
    return from_float<T>(to_float(a) * to_float(b));
  }
};
struct FusedMultiplyAdd {
  template <class T>
  static T apply(T a, T b, T c) {
    const double product = static_cast<double>(to_float(a)) * static_cast<double>(to_float(b));
    return round_to(add_to_odd(product, static_cast<double>(to_float(c))), T{});
  }
};
template <bool nan_wins>
struct Minimum {
  template <class T>
  static T apply(T a, T b) {
    const float x = to_float(a);
    const float y = to_float(b);
    if (std::isnan(x) || std::isnan(y)) {
      return nan_wins || (std::isnan(x) && std::isnan(y)) ? T{0x7fff} : std::isnan(x) ? b : a;
    }
    return y < x || (x == y && std::signbit(y)) ? b : a;
  }
};
template <bool nan_wins>
struct Maximum {
  template <class T>
  static T apply(T a, T b) {
    const float x = to_float(a);
    const float y = to_float(b);
    if (std::isnan(x) || std::isnan(y)) {
      return nan_wins || (std::isnan(x) && std::isnan(y)) ? T{0x7fff} : std::isnan(x) ? b : a;
    }
    return y > x || (x == y && std::signbit(x)) ? b : a;
  }
};
struct Negate {
  template <class T>
  static T apply(T a) {
    return T{static_cast<uint16_t>(a.bits ^ 0x8000u)};
  }
};
struct Absolute {
  template <class T>
  static T apply(T a) {
    return T{static_cast<uint16_t>(a.bits & 0x7fffu)};
  }
};
struct PowerOfTwo {
  template <class T>
  static T apply(T a) {
    return from_float<T>(std::exp2(to_float(a)));
  }
};
struct Tangent {
  template <class T>
  static T apply(T a) {
    return from_float<T>(std::tanh(to_float(a)));
  }
};

template <class T, class Operation, class... Elements>
T apply_one(const Instruction& instruction, Elements... elements) {
  T value =
      instruction.flush ? Operation::apply(flushed(elements)...) : Operation::apply(elements...);
  if (instruction.flush) value = flushed(value);
  if (instruction.saturate) value = saturated(value);
  return instruction.option != 0 ? rectified(value) : value;
}

// One element per lane, or two. option: 1 for .relu.
template <size_t count, size_t elements>
struct Rows {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = source<T>(warp, instruction, 0);
    const T* b = count > 1 ? source<T>(warp, instruction, 1) : a;
    const T* c = count > 2 ? source<T>(warp, instruction, 2) : a;
    struct Element {
      T part[elements];
    };
    Results<Element> results;
    for (uint32_t i = 0; i < kLanes; ++i) {
      for (size_t k = 0; k < elements; ++k) {
        const size_t at = i * elements + k;
        T& result = results.lane[i].part[k];
        if constexpr (count == 1) {
          result = apply_one<T, Operation>(instruction, a[at]);
        } else if constexpr (count == 2) {
          result = apply_one<T, Operation>(instruction, a[at], b[at]);
        } else {
          result = apply_one<T, Operation>(instruction, a[at], b[at], c[at]);
        }
      }
    }
    results.commit(warp, instruction, mask);
  }
};

template <size_t count, class Operation>
Handler by_type(Type type) {
  switch (type) {
    case Type::kF16:
      return &Rows<count, 1>::template run<Half, Operation>;
    case Type::kBf16:
      return &Rows<count, 1>::template run<Bfloat, Operation>;
    case Type::kF16x2:
      return &Rows<count, 2>::template run<Half, Operation>;
    case Type::kBf16x2:
      return &Rows<count, 2>::template run<Bfloat, Operation>;
    default:
      return nullptr;
  }
}

}  // namespace

Handler half_handler(const Opcode& opcode) {
  const Type type = opcode.type();
  const std::string_view name = opcode.name;
  const bool nan_wins = opcode.has("NaN");
  if (opcode.has("xorsign") || opcode.rounding() != Rounding::kNearest) return nullptr;
  if (name == "add") return by_type<2, Add>(type);
  if (name == "sub") return by_type<2, Subtract>(type);
  if (name == "mul") return by_type<2, Multiply>(type);
  if (name == "fma") return by_type<3, FusedMultiplyAdd>(type);
  if (name == "min")
    return nan_wins ? by_type<2, Minimum<true>>(type) : by_type<2, Minimum<false>>(type);
  if (name == "max")
    return nan_wins ? by_type<2, Maximum<true>>(type) : by_type<2, Maximum<false>>(type);
  if (name == "neg") return by_type<1, Negate>(type);
  if (name == "abs") return by_type<1, Absolute>(type);
  if (name == "ex2") return by_type<1, PowerOfTwo>(type);
  if (name == "tanh") return by_type<1, Tangent>(type);
  return nullptr;
}

}  // namespace sluice::ptx
