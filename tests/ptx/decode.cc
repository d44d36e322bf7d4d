// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/decode.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::ptx {

bool Decoder::expect(size_t count) {
  if (operands.size() == count) return true;
  fail("has " + std::to_string(operands.size()) + " operands");
  return false;
}

void Decoder::fail(std::string why) {
  if (reason.empty()) reason = std::move(why);
}

void Decoder::set_handler(Handler handler) {
  to.handler = handler;
  if (handler == nullptr) fail("no such form is known");
}

void Decoder::push_source(uint32_t row) {
  if (to.sources == to.s.size()) return fail("too many sources");
  to.s[to.sources++] = row;
}
void Decoder::push_destination(uint32_t row) {
  if (to.destinations == to.d.size()) return fail("too many destinations");
  to.d[to.destinations++] = row;
}

// What a name or number stands for as a value of `type`.
std::optional<RegisterRef> Decoder::reference(const Operand& operand, Type type) {
  if (operand.form != Operand::Form::kWord) return std::nullopt;
  const size_t width = type == Type::kPred ? 0 : std::max<size_t>(size_of(type), 2);
  if (operand.is_number()) {
    const std::optional<uint64_t> value = parse_number(operand, type);
    if (!value) return std::nullopt;
    return RegisterRef{names.constant(*value, width), width};
  }
  if (operand.word == "WARP_SZ") return RegisterRef{names.constant(kLanes, width), width};
  if (const auto found = names.find_register(operand.word)) return found;
  if (const auto found = names.find_special(operand.word)) return found;
  if (const Variable* variable = names.find_variable(operand.word)) {
    return RegisterRef{names.address_of(*variable, operand.offset, width), width};
  }
  return std::nullopt;
}

void Decoder::add_source(const Operand& operand, Type type) {
  if (operand.form == Operand::Form::kVector) {
    for (const Operand& part : operand.parts) add_source(part, type);
    return;
  }
  const std::optional<RegisterRef> found = reference(operand, type);
  if (!found) return fail("'" + std::string(operand.word) + "' is not known");
  if (found->width != std::max<size_t>(size_of(type), 2)) {
    return fail("'" + std::string(operand.word) + "' has another width");
  }
  push_source(found->row);
}

void Decoder::add_destination(const Operand& operand, Type type) {
  if (operand.form == Operand::Form::kVector) {
    for (const Operand& part : operand.parts) add_destination(part, type);
    return;
  }
  if (operand.word == "_") return push_destination(kNoRow);
  const std::optional<RegisterRef> found = names.find_register(operand.word);
  if (!found) return fail("'" + std::string(operand.word) + "' is no register");
  if (found->width != std::max<size_t>(size_of(type), 2)) {
    return fail("'" + std::string(operand.word) + "' has another width");
  }
  push_destination(found->row);
}

void Decoder::add_predicate_source(const Operand& operand) {
  const std::optional<RegisterRef> found = reference(operand, Type::kPred);
  if (!found || found->width != 0) {
    return fail("'" + std::string(operand.word) + "' is no predicate");
  }
  if (operand.negated) to.negated = static_cast<uint16_t>(to.negated | 1u << to.sources);
  push_source(found->row);
}

void Decoder::add_predicate_destination(const Operand& operand) {
  if (operand.word == "_") return push_destination(kNoRow);
  const std::optional<RegisterRef> found = names.find_register(operand.word);
  if (!found || found->width != 0) {
    return fail("'" + std::string(operand.word) + "' is no predicate");
  }
  push_destination(found->row);
}

void Decoder::add_address(const Operand& operand) {
  if (operand.form != Operand::Form::kAddress) return fail("an address was expected");
  const Operand& base = operand.parts[0];
  to.offset = operand.offset;
  to.source_bytes = 8;
  if (const auto found = names.find_register(base.word)) {
    if (found->width < 4) return fail("'" + std::string(base.word) + "' is no address");
    to.source_bytes = static_cast<uint8_t>(found->width);
    return push_source(found->row);
  }
  if (const Variable* variable = names.find_variable(base.word)) {
    if (to.space == Space::kParam) to.space = variable->space;
    return push_source(names.address_of(*variable, 0, 8));
  }
  const std::optional<uint64_t> number = parse_number(base, Type::kU64);
  if (!number) return fail("'" + std::string(base.word) + "' is no address");
  push_source(names.constant(*number, 8));
}

size_t Decoder::add_wide_source(const Operand& operand, Type type) {
  const std::optional<RegisterRef> found = reference(operand, type);
  if (!found || found->width < size_of(type)) {
    fail("'" + std::string(operand.word) + "' does not hold this type");
    return 4;
  }
  push_source(found->row);
  return found->width;
}

size_t Decoder::add_wide_destination(const Operand& operand, Type type) {
  if (operand.word == "_") {
    push_destination(kNoRow);
    return std::max<size_t>(size_of(type), 2);
  }
  const std::optional<RegisterRef> found = names.find_register(operand.word);
  if (!found || found->width < size_of(type)) {
    fail("'" + std::string(operand.word) + "' does not hold this type");
    return 4;
  }
  push_destination(found->row);
  return found->width;
}

void Decoder::add_all(Type type) {
  if (operands.empty()) return fail("has no operands");
  add_destination(operands[0], type);
  for (const Operand& operand : operands.subspan(1)) add_source(operand, type);
}

namespace {

// A type of 2, 4 or 8 bytes for values whose kind does not matter.
Type bits_type(size_t bytes) {
  return bytes == 8 ? Type::kB64 : bytes == 4 ? Type::kB32 : Type::kB16;
}

// Operands of an element-wise instruction, the destination among them.
size_t arity(std::string_view name) {
  static constexpr std::array<std::string_view, 16> kTwo = {
      "not",  "cnot",  "brev", "popc", "clz", "bfind", "neg", "abs",
      "sqrt", "rsqrt", "rcp",  "ex2",  "lg2", "sin",   "cos", "tanh"};
  static constexpr std::array<std::string_view, 7> kFour = {"fma", "mad",  "sad", "dp4a",
                                                            "shf", "prmt", "bfe"};
  if (std::find(kTwo.begin(), kTwo.end(), name) != kTwo.end()) return 2;
  if (std::find(kFour.begin(), kFour.end(), name) != kFour.end()) return 4;
  return name == "bfi" || name == "lop3" ? 5 : 3;
}

void decode_predicate(Decoder& d, int32_t option) {
  if (!d.expect(option >= 3 ? 2 : 3)) return;
  d.to.option = option;
  d.add_predicate_destination(d.operands[0]);
  for (const Operand& operand : d.operands.subspan(1)) d.add_predicate_source(operand);
  d.set_handler(&run_predicate);
}

void decode_mov(Decoder& d) {
  const Type type = d.opcode.type();
  if (type == Type::kPred) return decode_predicate(d, 4);
  if (!d.expect(2)) return;
  d.to.propagates = true;
  const Operand& from = d.operands[1];
  if (d.operands[0].form == Operand::Form::kVector) {
    const size_t parts = d.operands[0].parts.size();
    d.add_destination(d.operands[0], bits_type(size_of(type) / parts));
    d.add_source(from, type);
    return d.set_handler(unpack_handler(type, parts));
  }
  d.add_destination(d.operands[0], type);
  if (from.form == Operand::Form::kVector) {
    d.add_source(from, bits_type(size_of(type) / from.parts.size()));
    return d.set_handler(pack_handler(type, from.parts.size()));
  }
  d.to.register_bytes = static_cast<uint8_t>(size_of(type));
  if (from.word.starts_with("%clock") || from.word.starts_with("%globaltimer")) {
    return d.set_handler(&run_clock);
  }
  d.add_source(from, type);
  d.set_handler(mov_handler(type));
}

void decode_cvt(Decoder& d) {
  const Type type = d.opcode.type_before();
  d.to.type = type;
  d.to.type_2 = d.opcode.type();
  if (is_packed(type)) {
    if (!d.expect(3)) return;
    d.add_all(Type::kB32);
    d.to.option = d.opcode.has("relu") ? 1 : 0;
    return d.set_handler(convert_pair_handler(d.opcode));
  }
  if (!d.expect(2)) return;
  d.to.register_bytes = static_cast<uint8_t>(d.add_wide_destination(d.operands[0], type));
  d.to.source_bytes = static_cast<uint8_t>(d.add_wide_source(d.operands[1], d.to.type_2));
  for (const std::string_view whole : {"rni", "rzi", "rmi", "rpi"}) {
    if (d.opcode.has(whole)) d.to.option = 1;
  }
  const bool exact_widths =
      d.to.register_bytes == size_of(type) && d.to.source_bytes == size_of(d.to.type_2);
  d.set_handler(convert_handler(d.opcode, exact_widths));
}

void decode_setp(Decoder& d) {
  const std::optional<Compare> compare = parse_compare(d.opcode);
  if (!compare || d.operands.size() < 3) return d.fail("no such comparison is known");
  d.to.option = static_cast<int32_t>(*compare);
  d.to.option_2 = d.opcode.has("and") ? 1 : d.opcode.has("or") ? 2 : d.opcode.has("xor") ? 3 : 0;
  const Operand& to = d.operands[0];
  if (to.form == Operand::Form::kPair) {
    for (const Operand& part : to.parts) d.add_predicate_destination(part);
  } else {
    d.add_predicate_destination(to);
  }
  const Type type = d.opcode.type();
  d.add_source(d.operands[1], type);
  d.add_source(d.operands[2], type);
  const bool combines = d.to.option_2 != 0;
  if (!d.expect(combines ? 4 : 3)) return;
  if (combines) d.add_predicate_source(d.operands[3]);
  if (is_packed(type) && (combines || d.to.destinations != 2))
    return d.fail("no such form is known");
  d.set_handler(setp_handler(d.opcode));
}

void decode_set(Decoder& d) {
  const std::optional<Compare> compare = parse_compare(d.opcode);
  if (!compare || !d.expect(3)) return d.fail("no such comparison is known");
  d.to.option = static_cast<int32_t>(*compare);
  d.to.type_2 = d.opcode.type_before();
  d.add_destination(d.operands[0], Type::kB32);
  d.add_source(d.operands[1], d.opcode.type());
  d.add_source(d.operands[2], d.opcode.type());
  d.set_handler(set_handler(d.opcode));
}

void decode_selp(Decoder& d) {
  if (!d.expect(3 + 1)) return;
  d.add_destination(d.operands[0], d.opcode.type());
  d.add_source(d.operands[1], d.opcode.type());
  d.add_source(d.operands[2], d.opcode.type());
  d.add_predicate_source(d.operands[3]);
  d.set_handler(selp_handler(d.opcode));
}

// The last sources of shifts and fields are 32 bits wide whatever is shifted.
void decode_bits(Decoder& d) {
  const std::string_view name = d.opcode.name;
  const Type type = d.opcode.type();
  if (type == Type::kPred) {
    return decode_predicate(d, name == "and" ? 0 : name == "or" ? 1 : name == "xor" ? 2 : 3);
  }
  const bool counts = name == "popc" || name == "clz" || name == "bfind";
  const size_t same = name == "shl" || name == "shr" || name == "bfe" ? 1 : name == "bfi" ? 2 : 4;
  if (!d.expect(arity(name))) return;
  d.add_destination(d.operands[0], counts ? Type::kB32 : type);
  for (size_t i = 1; i < d.operands.size(); ++i) {
    d.add_source(d.operands[i], i <= same ? type : Type::kB32);
  }
  d.to.option = d.opcode.has("r") ? 1 : 0;
  d.to.option_2 = d.opcode.has("clamp") ? 1 : 0;
  d.set_handler(bits_handler(d.opcode));
}

void decode_wide(Decoder& d) {
  const Type type = d.opcode.type();
  const Type twice = bits_type(2 * size_of(type));
  if (!d.expect(d.opcode.name == "mad" ? 4 : 3)) return;
  d.add_destination(d.operands[0], twice);
  d.add_source(d.operands[1], type);
  d.add_source(d.operands[2], type);
  if (d.operands.size() > 3) d.add_source(d.operands[3], twice);
  d.set_handler(integer_handler(d.opcode));
}

void decode_dot(Decoder& d) {
  if (!d.expect(arity(d.opcode.name))) return;
  d.to.type_2 = d.opcode.type_before();
  d.add_all(Type::kB32);
  d.set_handler(integer_handler(d.opcode));
}

void decode_arithmetic(Decoder& d) {
  const Type type = d.opcode.type();
  if (d.opcode.has("wide")) return decode_wide(d);
  if (!d.expect(arity(d.opcode.name))) return;
  d.add_all(type);
  if (is_packed(type) || type == Type::kF16 || type == Type::kBf16) {
    d.to.option = d.opcode.has("relu") ? 1 : 0;
    return d.set_handler(half_handler(d.opcode));
  }
  d.set_handler(is_float(type) ? floating_handler(d.opcode) : integer_handler(d.opcode));
}

DecodeFunction find_decoder(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, DecodeFunction>, 44> kDecoders = {{
      {"mov", &decode_mov},          {"cvt", &decode_cvt},
      {"setp", &decode_setp},        {"set", &decode_set},
      {"selp", &decode_selp},        {"and", &decode_bits},
      {"or", &decode_bits},          {"xor", &decode_bits},
      {"not", &decode_bits},         {"cnot", &decode_bits},
      {"shl", &decode_bits},         {"shr", &decode_bits},
      {"shf", &decode_bits},         {"popc", &decode_bits},
      {"clz", &decode_bits},         {"bfind", &decode_bits},
      {"brev", &decode_bits},        {"bfe", &decode_bits},
      {"bfi", &decode_bits},         {"prmt", &decode_bits},
      {"lop3", &decode_bits},        {"dp4a", &decode_dot},
      {"add", &decode_arithmetic},   {"sub", &decode_arithmetic},
      {"mul", &decode_arithmetic},   {"mul24", &decode_arithmetic},
      {"mad", &decode_arithmetic},   {"fma", &decode_arithmetic},
      {"div", &decode_arithmetic},   {"rem", &decode_arithmetic},
      {"min", &decode_arithmetic},   {"max", &decode_arithmetic},
      {"neg", &decode_arithmetic},   {"abs", &decode_arithmetic},
      {"sad", &decode_arithmetic},   {"sqrt", &decode_arithmetic},
      {"rsqrt", &decode_arithmetic}, {"rcp", &decode_arithmetic},
      {"ex2", &decode_arithmetic},   {"lg2", &decode_arithmetic},
      {"sin", &decode_arithmetic},   {"cos", &decode_arithmetic},
      {"tanh", &decode_arithmetic},  {"copysign", &decode_arithmetic},
  }};
  for (const auto& [known, function] : kDecoders) {
    if (known == name) return function;
  }
  return find_memory_decoder(name);
}

}  // namespace

std::optional<std::string> decode(Names& names, const Opcode& opcode,
                                  std::span<const Operand> operands, Instruction& instruction) {
  const DecodeFunction function = find_decoder(opcode.name);
  if (function == nullptr) return "no such instruction is known";
  instruction.type = opcode.type();
  instruction.space = opcode.space();
  instruction.rounding = opcode.rounding();
  instruction.flush = opcode.has("ftz");
  instruction.saturate = opcode.has("sat");
  Decoder decoder(names, opcode, operands, instruction);
  function(decoder);
  if (decoder.ok()) return std::nullopt;
  return decoder.reason;
}

}  // namespace sluice::ptx
