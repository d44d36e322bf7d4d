// SPDX-License-Identifier: Apache-2.0
#pragma once
// The parts of a mnemonic such as `fma.rn.ftz.f32`.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/ptx/program.h"

namespace sluice::ptx {

struct Opcode {
  std::string text;                     // all of it
  std::string_view name = {};           // "fma"
  std::vector<std::string> parts = {};  // "fma", "rn", "ftz", "f32"
  std::vector<Type> types = {};         // those among the parts, in order

  bool has(std::string_view part) const;
  // The last type, and the one before it; kNone if there is none.
  Type type() const { return types.empty() ? Type::kNone : types.back(); }
  Type type_before() const { return types.size() < 2 ? Type::kNone : types[types.size() - 2]; }
  Space space() const;
  Rounding rounding() const;
};

Opcode parse_opcode(std::string_view text);
// The type that `text` names, e.g. "f16x2".
std::optional<Type> parse_type(std::string_view text);

}  // namespace sluice::ptx
