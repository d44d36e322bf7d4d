// SPDX-License-Identifier: Apache-2.0
#pragma once
// The operands of an instruction, as they are written.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tests/ptx/lexer.h"
#include "tests/ptx/program.h"

namespace sluice::ptx {

struct Operand {
  enum class Form : uint8_t {
    kWord,     // a name or a number, perhaps with `+ offset`
    kVector,   // {a, b}
    kAddress,  // [a + offset]; parts[0] is a
    kPair,     // a|b
    kList,     // (a, b), of a call
  };
  Form form = Form::kWord;
  std::string_view word = {};
  bool minus = false;    // of a number
  bool negated = false;  // `!`, of a predicate
  int64_t offset = 0;
  std::vector<Operand> parts = {};

  bool is_number() const;
};

using Tokens = std::span<const Token>;

// Operands separated by commas; nothing if the tokens are not that.
std::optional<std::vector<Operand>> parse_operands(Tokens tokens);

// The bits of a number as a constant of `type`: integers, decimal fractions, and the exact forms
// 0f and 0d. Nothing if it is no number.
std::optional<uint64_t> parse_number(const Operand& operand, Type type);

}  // namespace sluice::ptx
