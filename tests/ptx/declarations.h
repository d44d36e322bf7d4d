// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a PTX text declares: variables and functions. Bodies stay tokens; body.h makes kernels of
// them.

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tests/ptx/lexer.h"
#include "tests/ptx/names.h"
#include "tests/ptx/operand.h"

namespace sluice::ptx {

// A variable with what it is set to.
struct Declaration {
  Variable variable = {};
  Type type = Type::kNone;
  std::vector<std::byte> initial = {};  // empty, or as many bytes as the variable has
};

// `.shared .align 16 .b8 name[64]` and its like, without the semicolon.
Result<Declaration> parse_declaration(Tokens tokens);

struct FunctionText {
  std::string name;
  bool is_entry = false;
  bool has_body = false;
  std::vector<Variable> results = {};
  std::vector<Variable> parameters = {};
  Tokens body = {};
  uint32_t threads_max = 0;                     // of .maxntid or .reqntid
  std::array<uint32_t, 3> cluster = {0, 0, 0};  // of .reqnctapercluster
};

struct ModuleText {
  std::vector<Token> tokens = {};
  std::map<std::string, FunctionText, std::less<>> functions = {};
  std::vector<Declaration> variables = {};
};

// `text` outlives the result.
Result<ModuleText> parse_module(std::string_view text);

// An error that names a line of the text.
Error error_at(uint32_t line, std::string_view message);

}  // namespace sluice::ptx
