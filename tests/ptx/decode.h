// SPDX-License-Identifier: Apache-2.0
#pragma once
// From an instruction as it is written to one as it is executed.

#include <span>
#include <string>

#include "tests/ptx/handlers.h"
#include "tests/ptx/names.h"
#include "tests/ptx/opcode.h"
#include "tests/ptx/operand.h"

namespace sluice::ptx {

// One instruction in the making. The first thing that is not understood makes all of it
// unsupported.
class Decoder {
 public:
  Decoder(Names& its_names, const Opcode& its_opcode, std::span<const Operand> its_operands,
          Instruction& instruction)
      : names(its_names), opcode(its_opcode), operands(its_operands), to(instruction) {}

  // Whether there are `count` operands; fails if not.
  bool expect(size_t count);
  // Appends a source or destination that holds a `type`; vectors append each of their parts.
  void add_source(const Operand& operand, Type type);
  void add_destination(const Operand& operand, Type type);
  void add_predicate_source(const Operand& operand);
  void add_predicate_destination(const Operand& operand);
  // Appends the base of an address, and sets offset, source_bytes and space.
  void add_address(const Operand& operand);
  // For ld, st and cvt: appends a register of any width that holds the type, and tells the width.
  size_t add_wide_source(const Operand& operand, Type type);
  size_t add_wide_destination(const Operand& operand, Type type);
  // The first operand a destination, the others sources, all of one type.
  void add_all(Type type);
  void set_handler(Handler handler);
  void fail(std::string reason);
  bool ok() const { return reason.empty(); }

  Names& names;
  const Opcode& opcode;
  std::span<const Operand> operands;
  Instruction& to;
  std::string reason;

 private:
  void push_source(uint32_t row);
  void push_destination(uint32_t row);
  std::optional<RegisterRef> reference(const Operand& operand, Type type);
};

using DecodeFunction = void (*)(Decoder& decoder);
// decode_memory.cc: for memory, warps and matrices; null if the name is none of those.
DecodeFunction find_memory_decoder(std::string_view name);

// Fills `instruction` but for its guard, lines and branches. Gives the reason if it cannot.
std::optional<std::string> decode(Names& names, const Opcode& opcode,
                                  std::span<const Operand> operands, Instruction& instruction);

}  // namespace sluice::ptx
