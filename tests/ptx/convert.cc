// SPDX-License-Identifier: Apache-2.0
// cvt. A source is first made an exact number, then rounded once.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "tests/ptx/handlers.h"
#include "tests/ptx/pick.h"

namespace sluice::ptx {
namespace {

// The value of a row's lane, as many bytes as its register has.
uint64_t raw_source(const std::byte* row, size_t bytes, uint32_t lane) {
  uint64_t value = 0;
  std::memcpy(&value, row + bytes * lane, bytes);
  return value;
}

uint64_t extend(uint64_t value, Type type) {
  const size_t unused = 64 - 8 * size_of(type);
  const uint64_t shifted = value << unused;
  return is_signed(type) ? static_cast<uint64_t>(static_cast<int64_t>(shifted) >> unused)
                         : shifted >> unused;
}

// An integer as a double, rounded to odd where it has more than 53 digits.
double integer_value(uint64_t value, Type type) {
  const uint64_t low = value & 0xffffffffu;
  const double high = is_signed(type) ? static_cast<double>(static_cast<int64_t>(value) >> 32)
                                      : static_cast<double>(value >> 32);
  return add_to_odd(high * 0x1p32, static_cast<double>(low));
}

double float_value(uint64_t raw, Type type, bool flush) {
  switch (type) {
    case Type::kF16:
      return static_cast<double>(to_float(Half{static_cast<uint16_t>(raw)}));
    case Type::kBf16:
      return static_cast<double>(to_float(Bfloat{static_cast<uint16_t>(raw)}));
    case Type::kF32: {
      const float value = std::bit_cast<float>(static_cast<uint32_t>(raw));
      const bool subnormal = std::abs(value) < std::numeric_limits<float>::min();
      return static_cast<double>(flush && subnormal ? std::copysign(0.0f, value) : value);
    }
    default:
      return std::bit_cast<double>(raw);
  }
}

uint64_t round_to_float(double value, const Instruction& instruction, Rounding rounding) {
  switch (instruction.type) {
    case Type::kF16:
      return to_half(value, rounding).bits;
    case Type::kBf16:
      return to_bfloat(value, rounding).bits;
    case Type::kF32: {
      float result = to_float(value, rounding);
      if (instruction.flush && std::abs(result) < std::numeric_limits<float>::min()) {
        result = std::copysign(0.0f, result);
      }
      return std::bit_cast<uint32_t>(result);
    }
    default:
      return std::bit_cast<uint64_t>(value);
  }
}

// Out of range gives the nearest limit; NaN gives 0, or 1 << (bits - 1) where 64 bits take part.
uint64_t round_to_integer(double value, const Instruction& instruction) {
  const Type type = instruction.type;
  const size_t bits = 8 * size_of(type);
  if (std::isnan(value)) {
    const bool wide = bits == 64 || instruction.type_2 == Type::kF64;
    return wide ? uint64_t{1} << (bits - 1) : 0;
  }
  const double whole = round_whole(value, instruction.rounding);
  if (is_signed(type)) {
    const double limit = std::ldexp(1.0, static_cast<int>(bits) - 1);
    const uint64_t max = (uint64_t{1} << (bits - 1)) - 1;
    if (whole >= limit) return max;
    if (whole < -limit) return extend(max + 1, type);
    return static_cast<uint64_t>(static_cast<int64_t>(whole));
  }
  if (whole >= std::ldexp(1.0, static_cast<int>(bits))) return extend(~uint64_t{0}, type);
  return whole <= 0.0 ? 0 : static_cast<uint64_t>(whole);
}

// cvt.sat between integers: into the range of `to`.
uint64_t saturate_integer(uint64_t value, Type from, Type to) {
  const size_t bits = 8 * size_of(to);
  const bool negative = is_signed(from) && static_cast<int64_t>(value) < 0;
  const uint64_t max = is_signed(to) ? (uint64_t{1} << (bits - 1)) - 1
                                     : extend(~uint64_t{0}, Type::kU64) >> (64 - bits);
  if (!negative) return std::min(value, max);
  if (!is_signed(to)) return 0;
  const auto min = -static_cast<int64_t>(max) - 1;
  return static_cast<uint64_t>(std::max(static_cast<int64_t>(value), min));
}

uint64_t convert_one(uint64_t raw, const Instruction& instruction) {
  const Type from = instruction.type_2;
  const Type to = instruction.type;
  if (is_float(from)) {
    double value = float_value(raw, from, instruction.flush);
    if (!is_float(to)) return round_to_integer(value, instruction);
    Rounding rounding = instruction.rounding;
    if (instruction.option != 0) {
      value = round_whole(value, rounding);
      rounding = Rounding::kNearest;
    }
    if (instruction.saturate) value = value >= 1.0 ? 1.0 : value > 0.0 ? value : 0.0;
    return round_to_float(value, instruction, rounding);
  }
  const uint64_t value = extend(raw, from);
  if (!is_float(to)) {
    return extend(instruction.saturate ? saturate_integer(value, from, to) : value, to);
  }
  if (to == Type::kF64 && size_of(from) == 8) {
    if (instruction.rounding == Rounding::kNearest) {
      return std::bit_cast<uint64_t>(is_signed(from)
                                         ? static_cast<double>(static_cast<int64_t>(value))
                                         : static_cast<double>(value));
    }
  }
  return round_to_float(integer_value(value, from), instruction, instruction.rounding);
}

void run_convert(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const std::byte* from = warp.registers + instruction.s[0];
  std::byte* to = warp.registers + instruction.d[0];
  const size_t to_bytes = instruction.register_bytes;
  for_each_lane(mask, [&](uint32_t i) {
    const uint64_t raw = raw_source(from, instruction.source_bytes, i);
    const uint64_t result = convert_one(raw, instruction);
    std::memcpy(to + to_bytes * i, &result, to_bytes);
  });
}

// The frequent conversions, in a form that compilers make vectors of.
template <class To, class From>
To plain_convert(From value) {
  return static_cast<To>(value);
}
template <>
float plain_convert<float, Half>(Half value) {
  return to_float(value);
}
template <>
float plain_convert<float, Bfloat>(Bfloat value) {
  return to_float(value);
}
template <>
Half plain_convert<Half, float>(float value) {
  return to_half(value);
}
template <>
Bfloat plain_convert<Bfloat, float>(float value) {
  return to_bfloat(value);
}
template <class To, class From>
void run_plain(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const From* a = source<From>(warp, instruction, 0);
  Results<To> results;
  for (uint32_t i = 0; i < kLanes; ++i) results.lane[i] = plain_convert<To, From>(a[i]);
  results.commit(warp, instruction, mask);
}

Handler plain_handler(Type to, Type from) {
  if (to == Type::kF32 && from == Type::kF16) return &run_plain<float, Half>;
  if (to == Type::kF32 && from == Type::kBf16) return &run_plain<float, Bfloat>;
  if (to == Type::kF16 && from == Type::kF32) return &run_plain<Half, float>;
  if (to == Type::kBf16 && from == Type::kF32) return &run_plain<Bfloat, float>;
  if (to == Type::kF32 && from == Type::kS32) return &run_plain<float, int32_t>;
  if (is_float(to) || is_float(from)) return nullptr;
  if (size_of(to) == 8 && from == Type::kS32) return &run_plain<int64_t, int32_t>;
  if (size_of(to) == 8 && from == Type::kU32) return &run_plain<uint64_t, uint32_t>;
  if (size_of(to) == 4 && size_of(from) == 8) return &run_plain<uint32_t, uint64_t>;
  if (size_of(to) == 2 && size_of(from) == 4) return &run_plain<uint16_t, uint32_t>;
  if (size_of(to) == 4 && from == Type::kU16) return &run_plain<uint32_t, uint16_t>;
  if (size_of(to) == 4 && from == Type::kS16) return &run_plain<int32_t, int16_t>;
  return nullptr;
}

// option: 1 for .relu.
template <class T>
void run_pair(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const float* high = source<float>(warp, instruction, 0);
  const float* low = source<float>(warp, instruction, 1);
  const auto prepared = [&](float value) {
    return instruction.option != 0 && value < 0.0f ? 0.0f : value;
  };
  Results<uint32_t> results;
  for (uint32_t i = 0; i < kLanes; ++i) {
    const uint32_t upper = plain_convert<T, float>(prepared(high[i])).bits;
    results.lane[i] = upper << 16 | plain_convert<T, float>(prepared(low[i])).bits;
  }
  results.commit(warp, instruction, mask);
}

bool is_convertible(Type type) {
  return type != Type::kNone && type != Type::kPred && !is_packed(type);
}

}  // namespace

Handler convert_handler(const Opcode& opcode, bool exact_widths) {
  for (const std::string& part : opcode.parts) {
    if (part.starts_with("e4m3") || part.starts_with("e5m2") || part == "tf32") return nullptr;
  }
  const Type to = opcode.type_before();
  const Type from = opcode.type();
  if (opcode.types.size() != 2 || !is_convertible(to) || !is_convertible(from)) return nullptr;
  if (opcode.has("relu") || opcode.has("rna")) return nullptr;
  const bool plain = exact_widths && opcode.rounding() == Rounding::kNearest &&
                     !opcode.has("ftz") && !opcode.has("sat") && !opcode.has("rni");
  if (const Handler handler = plain ? plain_handler(to, from) : nullptr) return handler;
  return &run_convert;
}

Handler convert_pair_handler(const Opcode& opcode) {
  if (opcode.type() != Type::kF32 || opcode.rounding() != Rounding::kNearest) return nullptr;
  if (opcode.type_before() == Type::kF16x2) return &run_pair<Half>;
  if (opcode.type_before() == Type::kBf16x2) return &run_pair<Bfloat>;
  return nullptr;
}

}  // namespace sluice::ptx
