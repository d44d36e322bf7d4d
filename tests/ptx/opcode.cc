// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/opcode.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sluice::ptx {

std::optional<Type> parse_type(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, Type>, 19> kTypes = {{
      {"u8", Type::kU8},     {"u16", Type::kU16},     {"u32", Type::kU32},
      {"u64", Type::kU64},   {"s8", Type::kS8},       {"s16", Type::kS16},
      {"s32", Type::kS32},   {"s64", Type::kS64},     {"f16", Type::kF16},
      {"bf16", Type::kBf16}, {"f32", Type::kF32},     {"f64", Type::kF64},
      {"b8", Type::kB8},     {"b16", Type::kB16},     {"b32", Type::kB32},
      {"b64", Type::kB64},   {"f16x2", Type::kF16x2}, {"bf16x2", Type::kBf16x2},
      {"pred", Type::kPred},
  }};
  for (const auto& [name, type] : kTypes) {
    if (name == text) return type;
  }
  return std::nullopt;
}

Opcode parse_opcode(std::string_view text) {
  Opcode opcode;
  opcode.text = text;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('.', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    opcode.parts.emplace_back(part);
    if (const std::optional<Type> type = parse_type(part)) opcode.types.push_back(*type);
    begin = end + 1;
  }
  opcode.name = std::string_view(opcode.parts[0]);
  return opcode;
}

bool Opcode::has(std::string_view part) const {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

Space Opcode::space() const {
  for (const std::string& part : parts) {
    if (part == "global") return Space::kGlobal;
    if (part == "const") return Space::kConst;
    if (part == "shared" || part == "shared::cta") return Space::kShared;
    if (part == "shared::cluster") return Space::kSharedCluster;
    if (part == "local") return Space::kLocal;
    if (part.starts_with("param")) return Space::kParam;
  }
  return Space::kGeneric;
}

Rounding Opcode::rounding() const {
  if (has("rz") || has("rzi")) return Rounding::kZero;
  if (has("rm") || has("rmi")) return Rounding::kDown;
  if (has("rp") || has("rpi")) return Rounding::kUp;
  return Rounding::kNearest;
}

}  // namespace sluice::ptx
