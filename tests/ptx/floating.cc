// SPDX-License-Identifier: Apache-2.0
// Arithmetic of f32 and f64. Rounding other than to nearest is for f32 only; it goes through a
// double that is exact or rounded to odd, so that the second rounding decides.
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "tests/ptx/handlers.h"
#include "tests/ptx/pick.h"

namespace sluice::ptx {
namespace {

// .ftz: a subnormal f32 becomes a zero of its sign.
template <class T>
T flushed(T value) {
  if constexpr (std::is_same_v<T, float>) {
    return std::abs(value) < std::numeric_limits<float>::min() ? std::copysign(0.0f, value) : value;
  }
  return value;
}
// .sat: into [0, 1]; NaN becomes 0.
template <class T>
T saturated(T value) {
  return value >= T{1} ? T{1} : value > T{0} ? value : T{0};
}

// An element-wise instruction with .ftz and .sat where the instruction asks for them.
template <class T, class Operation, class... Rows>
void run_rows(Warp& warp, const Instruction& instruction, uint32_t mask, Rows... rows) {
  Results<T> results;
  if (!instruction.flush && !instruction.saturate) {
    for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = Operation::apply(rows[i]...);
  } else {
    const bool flush = instruction.flush;
    for (uint32_t i = 0; i < kLanes; ++i) {
      T value = Operation::apply((flush ? flushed(rows[i]) : rows[i])...);
      if (flush) value = flushed(value);
      results.lane[i] = instruction.saturate ? saturated(value) : value;
    }
  }
  results.commit(warp, instruction, mask);
}

struct FloatUnary {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    run_rows<T, Operation>(warp, instruction, mask, source<T>(warp, instruction, 0));
  }
};
struct FloatBinary {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    run_rows<T, Operation>(warp, instruction, mask, source<T>(warp, instruction, 0),
                           source<T>(warp, instruction, 1));
  }
};
struct FloatTernary {
  template <class T, class Operation>
  static void run(Warp& warp, const Instruction& instruction, uint32_t mask) {
    run_rows<T, Operation>(warp, instruction, mask, source<T>(warp, instruction, 0),
                           source<T>(warp, instruction, 1), source<T>(warp, instruction, 2));
  }
};

// `exact` rounds to odd, in double.
struct Add {
  template <class T>
  static T apply(T a, T b) {
    return a + b;
  }
  static double exact(double a, double b) { return add_to_odd(a, b); }
};
struct Subtract {
  template <class T>
  static T apply(T a, T b) {
    return a - b;
  }
  static double exact(double a, double b) { return add_to_odd(a, -b); }
};
struct Multiply {
  template <class T>
  static T apply(T a, T b) {
    return a * b;
  }
  static double exact(double a, double b) { return a * b; }
};
struct FusedMultiplyAdd {
  template <class T>
  static T apply(T a, T b, T c) {
    return std::fma(a, b, c);
  }
  static double exact(double a, double b, double c) { return add_to_odd(a * b, c); }
};
// Moves `near`, a result rounded to nearest, to an odd one; `lost` has the sign of what it lacks.
double odd_if_lost(double near, double lost) {
  if (lost == 0.0 || !std::isfinite(near) || (std::bit_cast<uint64_t>(near) & 1u) != 0) return near;
  return std::nextafter(near, lost > 0 ? INFINITY : -INFINITY);
}
struct Divide {
  template <class T>
  static T apply(T a, T b) {
    return a / b;
  }
  static double exact(double a, double b) {
    const double near = a / b;
    return odd_if_lost(near, std::fma(-near, b, a) * (std::signbit(b) ? -1.0 : 1.0));
  }
};
struct SquareRoot {
  template <class T>
  static T apply(T a) {
    return std::sqrt(a);
  }
  static double exact(double a) {
    const double near = std::sqrt(a);
    return odd_if_lost(near, std::fma(-near, near, a));
  }
};
struct Reciprocal {
  template <class T>
  static T apply(T a) {
    return T{1} / a;
  }
  static double exact(double a) { return Divide::exact(1.0, a); }
};

// f32 with .rz, .rm or .rp.
template <class Operation, class... Rows>
void run_directed(Warp& warp, const Instruction& instruction, uint32_t mask, Rows... rows) {
  const bool flush = instruction.flush;
  Results<float> results = {};
  for_each_lane(mask, [&](uint32_t i) {
    const double exact =
        Operation::exact(static_cast<double>(flush ? flushed(rows[i]) : rows[i])...);
    float value = to_float(exact, instruction.rounding);
    if (flush) value = flushed(value);
    results.lane[i] = instruction.saturate ? saturated(value) : value;
  });
  results.commit(warp, instruction, mask);
}
template <class Operation, size_t count>
void run_directed_for(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const float* a = source<float>(warp, instruction, 0);
  if constexpr (count == 1) {
    run_directed<Operation>(warp, instruction, mask, a);
  } else if constexpr (count == 2) {
    run_directed<Operation>(warp, instruction, mask, a, source<float>(warp, instruction, 1));
  } else {
    run_directed<Operation>(warp, instruction, mask, a, source<float>(warp, instruction, 1),
                            source<float>(warp, instruction, 2));
  }
}

// -0 is less than +0. A NaN loses against a number, or wins with .NaN.
template <bool nan_wins>
struct Minimum {
  template <class T>
  static T apply(T a, T b) {
    const bool takes_b = b < a || (a == b && std::signbit(b));
    const T result = takes_b ? b : a;
    if (std::isnan(a)) return nan_wins ? std::numeric_limits<T>::quiet_NaN() : b;
    if (std::isnan(b)) return nan_wins ? std::numeric_limits<T>::quiet_NaN() : a;
    return result;
  }
};
template <bool nan_wins>
struct Maximum {
  template <class T>
  static T apply(T a, T b) {
    return -Minimum<nan_wins>::apply(-a, -b);
  }
};
struct Negate {
  template <class T>
  static T apply(T a) {
    return -a;
  }
};
struct Absolute {
  template <class T>
  static T apply(T a) {
    return std::abs(a);
  }
};
// copysign d, a, b: the sign of a with the magnitude of b.
struct CopySign {
  template <class T>
  static T apply(T a, T b) {
    return std::copysign(b, a);
  }
};
struct ReciprocalRoot {
  template <class T>
  static T apply(T a) {
    return static_cast<T>(1.0 / std::sqrt(static_cast<double>(a)));
  }
};
struct PowerOfTwo {
  template <class T>
  static T apply(T a) {
    return std::exp2(a);
  }
};
struct Logarithm {
  template <class T>
  static T apply(T a) {
    return std::log2(a);
  }
};
struct Sine {
  template <class T>
  static T apply(T a) {
    return std::sin(a);
  }
};
struct Cosine {
  template <class T>
  static T apply(T a) {
    return std::cos(a);
  }
};
struct Tangent {
  template <class T>
  static T apply(T a) {
    return std::tanh(a);
  }
};

template <class Shape, class Operation>
Handler by_width(Type type) {
  if (type == Type::kF32) return &Shape::template run<float, Operation>;
  if (type == Type::kF64) return &Shape::template run<double, Operation>;
  return nullptr;
}

// With .rn or no rounding at all, which means .rn or .approx, or directed.
template <class Shape, class Operation, size_t count>
Handler rounded(const Opcode& opcode) {
  if (opcode.rounding() == Rounding::kNearest) return by_width<Shape, Operation>(opcode.type());
  if (opcode.type() != Type::kF32) return nullptr;
  return &run_directed_for<Operation, count>;
}

Handler function_handler(const Opcode& opcode) {
  const std::string_view name = opcode.name;
  const Type type = opcode.type();
  if (name == "rsqrt") return by_width<FloatUnary, ReciprocalRoot>(type);
  if (type != Type::kF32) return nullptr;
  if (name == "ex2") return &FloatUnary::run<float, PowerOfTwo>;
  if (name == "lg2") return &FloatUnary::run<float, Logarithm>;
  if (name == "sin") return &FloatUnary::run<float, Sine>;
  if (name == "cos") return &FloatUnary::run<float, Cosine>;
  if (name == "tanh") return &FloatUnary::run<float, Tangent>;
  return nullptr;
}

}  // namespace

Handler floating_handler(const Opcode& opcode) {
  const Type type = opcode.type();
  const std::string_view name = opcode.name;
  if (opcode.has("xorsign") || opcode.has("abs")) {
    if (name != "abs") return nullptr;
  }
  const bool nan_wins = opcode.has("NaN");
  if (name == "add") return rounded<FloatBinary, Add, 2>(opcode);
  if (name == "sub") return rounded<FloatBinary, Subtract, 2>(opcode);
  if (name == "mul") return rounded<FloatBinary, Multiply, 2>(opcode);
  if (name == "fma" || name == "mad") return rounded<FloatTernary, FusedMultiplyAdd, 3>(opcode);
  if (name == "div") return rounded<FloatBinary, Divide, 2>(opcode);
  if (name == "sqrt") return rounded<FloatUnary, SquareRoot, 1>(opcode);
  if (name == "rcp") return rounded<FloatUnary, Reciprocal, 1>(opcode);
  if (name == "min") {
    return nan_wins ? by_width<FloatBinary, Minimum<true>>(type)
                    : by_width<FloatBinary, Minimum<false>>(type);
  }
  if (name == "max") {
    return nan_wins ? by_width<FloatBinary, Maximum<true>>(type)
                    : by_width<FloatBinary, Maximum<false>>(type);
  }
  if (name == "neg") return by_width<FloatUnary, Negate>(type);
  if (name == "abs") return by_width<FloatUnary, Absolute>(type);
  if (name == "copysign") return by_width<FloatBinary, CopySign>(type);
  return function_handler(opcode);
}

}  // namespace sluice::ptx
