// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/body.h"

#include <algorithm>
#include <charconv>

#include "tests/ptx/decode.h"
#include "tests/ptx/shadow.h"

namespace sluice::ptx {
namespace {

constexpr size_t kCallDepthMax = 16;
constexpr size_t kInstructionsMax = kRecordPlacesMax;

// The text of a statement with single spaces.
std::string text_of(Tokens tokens) {
  std::string text;
  for (const Token& token : tokens) {
    const bool joined = text.empty() || token.text == "," || token.text == ")" ||
                        token.text == "]" || token.text == "}" || text.back() == '[' ||
                        text.back() == '{' || text.back() == '(' || text.back() == '@' ||
                        text.back() == '!' || text.back() == '-';
    if (!joined) text += ' ';
    text += token.text;
  }
  return text;
}

class BodyBuilder {
 public:
  BodyBuilder(const ModuleText& module, Kernel& kernel, Names& names)
      : module_(module), kernel_(kernel), names_(names) {}

  // Puts the function's code at the end of the kernel's. The names of its parameters are bound.
  std::optional<Error> build(const FunctionText& function) {
    if (std::find(calling_.begin(), calling_.end(), function.name) != calling_.end() ||
        calling_.size() == kCallDepthMax) {
      return error_at(function.body[0].line, "calls go in a circle or too deep");
    }
    calling_.push_back(function.name);
    Labels outer = std::move(labels_);
    labels_ = {};
    Tokens rest = function.body;
    while (!rest.empty() && !error_) take_statement(rest);
    if (!error_) resolve();
    labels_ = std::move(outer);
    calling_.pop_back();
    return error_;
  }

  void append(Instruction instruction, Tokens tokens) {
    instruction.line = tokens.empty() ? line_ : tokens[0].line;
    instruction.source_line = source_line_;
    kernel_.code.push_back(instruction);
    kernel_.texts.push_back(text_of(tokens));
    if (kernel_.code.size() > kInstructionsMax) fail(instruction.line, "the kernel is too long");
  }

 private:
  struct Branch {
    uint32_t at = 0;  // index of the instruction
    std::string label;
    uint32_t line = 0;
  };
  // Of one function's copy.
  struct Labels {
    std::map<std::string, uint32_t, std::less<>> places = {};
    std::map<std::string, std::vector<std::string>, std::less<>> tables = {};
    std::vector<Branch> branches = {};
    std::vector<uint32_t> returns = {};  // branches to the end of a called function
  };

  void fail(uint32_t line, std::string_view why) {
    if (!error_) error_ = error_at(line, why);
  }

  void take_statement(Tokens& rest) {
    const Token& first = rest[0];
    line_ = first.line;
    if (first.text == "{" || first.text == "}") {
      if (first.text == "{") {
        names_.open_scope(false);
      } else {
        names_.close_scope();
      }
      rest = rest.subspan(1);
      return;
    }
    if (first.text == ".loc" || first.text == ".file") return take_location(rest);
    if (rest.size() > 1 && first.is_word && rest[1].text == ":") {
      label_ = first.text;
      labels_.places[label_] = static_cast<uint32_t>(kernel_.code.size());
      rest = rest.subspan(2);
      return;
    }
    const auto end = std::find_if(rest.begin(), rest.end(),
                                  [](const Token& token) { return token.text == ";"; });
    if (end == rest.end()) return fail(first.line, "a statement does not end");
    const Tokens statement = rest.first(static_cast<size_t>(end - rest.begin()));
    rest = rest.subspan(statement.size() + 1);
    if (statement.empty()) return;
    if (first.text[0] == '.') {
      take_directive(statement);
    } else {
      take_instruction(statement);
    }
  }

  // .loc FILE LINE COLUMN, to the end of the line.
  void take_location(Tokens& rest) {
    const uint32_t line = rest[0].line;
    if (rest[0].text == ".loc" && rest.size() > 2) {
      const std::string_view number = rest[2].text;
      std::from_chars(number.data(), number.data() + number.size(), source_line_);
    }
    while (!rest.empty() && rest[0].line == line) rest = rest.subspan(1);
  }

  void take_directive(Tokens statement) {
    const std::string_view name = statement[0].text;
    if (name == ".reg") return take_registers(statement);
    if (name == ".branchtargets") {
      std::vector<std::string>& table = labels_.tables[label_];
      for (const Token& token : statement.subspan(1)) {
        if (token.is_word) table.emplace_back(token.text);
      }
      return;
    }
    if (name != ".shared" && name != ".local" && name != ".param") return;
    Result<Declaration> parsed = parse_declaration(statement);
    if (!parsed.ok()) {
      error_ = parsed.error();
      return;
    }
    names_.declare_variable(parsed.value().variable);
  }

  // .reg .b32 %r<10>, %x;
  void take_registers(Tokens statement) {
    const std::optional<Type> type =
        statement.size() > 2 ? parse_type(statement[1].text.substr(1)) : std::nullopt;
    if (!type) return fail(statement[0].line, "this type of register is not known");
    for (size_t i = 2; i < statement.size(); ++i) {
      if (!statement[i].is_word) continue;
      uint32_t count = 0;
      const std::string_view name = statement[i].text;
      if (i + 2 < statement.size() && statement[i + 1].text == "<") {
        const std::string_view number = statement[i + 2].text;
        std::from_chars(number.data(), number.data() + number.size(), count);
        i += 2;
      }
      names_.declare_registers(name, count, *type);
    }
  }

  void take_instruction(Tokens statement) {
    Instruction instruction;
    Tokens rest = statement;
    if (rest[0].text == "@") {
      instruction.guard_negated = rest.size() > 1 && rest[1].text == "!";
      rest = rest.subspan(instruction.guard_negated ? 2 : 1);
      const auto guard = rest.empty() ? std::nullopt : names_.find_register(rest[0].text);
      if (!guard || guard->width != 0) return fail(statement[0].line, "the guard is no predicate");
      instruction.guard = guard->row;
      rest = rest.subspan(1);
    }
    if (rest.empty()) return fail(statement[0].line, "an instruction is missing");
    const Opcode opcode = parse_opcode(rest[0].text);
    const Tokens operand_tokens = rest.subspan(1);
    if (take_control(opcode, operand_tokens, instruction, statement)) return;
    const auto operands = operand_tokens.empty() ? std::optional(std::vector<Operand>())
                                                 : parse_operands(operand_tokens);
    std::optional<std::string> why = operands ? decode(names_, opcode, *operands, instruction)
                                              : "its operands are not understood";
    if (why) make_unsupported(instruction, statement, *why);
    append(instruction, statement);
  }

  void make_unsupported(Instruction& instruction, Tokens statement, const std::string& why) {
    const uint32_t guard = instruction.guard;
    const bool negated = instruction.guard_negated;
    instruction = Instruction{};
    instruction.guard = guard;
    instruction.guard_negated = negated;
    instruction.handler = &run_unsupported;
    kernel_.unsupported.push_back("PTX line " + std::to_string(statement[0].line) + ": " +
                                  text_of(statement) + ": " + why);
  }

  // Branches, returns and calls; false if it is none of those.
  bool take_control(const Opcode& opcode, Tokens operands, Instruction& instruction,
                    Tokens statement) {
    const auto here = static_cast<uint32_t>(kernel_.code.size());
    instruction.handler = &run_nothing;
    if (opcode.name == "bra" && !operands.empty()) {
      instruction.kind = Kind::kBranch;
      labels_.branches.push_back({here, std::string(operands[0].text), statement[0].line});
    } else if (opcode.name == "brx" && operands.size() == 3) {
      const auto index = names_.find_register(operands[0].text);
      if (!index || index->width != 4) return false;
      instruction.kind = Kind::kBranchTable;
      instruction.s[instruction.sources++] = index->row;
      labels_.branches.push_back({here, std::string(operands[2].text), statement[0].line});
    } else if (opcode.name == "ret" && calling_.size() > 1) {
      instruction.kind = Kind::kBranch;
      labels_.returns.push_back(here);
    } else if (opcode.name == "ret" || opcode.name == "exit") {
      instruction.kind = Kind::kReturn;
    } else if (opcode.name == "call") {
      take_call(operands, instruction, statement);
      return true;
    } else {
      return false;
    }
    append(instruction, statement);
    return true;
  }

  // call (result), name, (arguments);
  void take_call(Tokens tokens, Instruction instruction, Tokens statement) {
    const auto operands = parse_operands(tokens);
    if (!operands || operands->empty())
      return fail(statement[0].line, "the call is not understood");
    const bool has_result = (*operands)[0].form == Operand::Form::kList;
    const size_t name_at = has_result ? 1 : 0;
    if (operands->size() <= name_at) return fail(statement[0].line, "the call names no function");
    const std::string name((*operands)[name_at].word);
    if (name == "vprintf") return append(instruction, statement);
    if (name == "__assertfail") {
      instruction.handler = &run_trap;
      instruction.option = 1;
      return append(instruction, statement);
    }
    const auto found = module_.functions.find(name);
    if (found == module_.functions.end() || !found->second.has_body ||
        instruction.guard != kNoRow) {
      make_unsupported(instruction, statement,
                       "the function is not known, or called on a condition");
      return append(instruction, statement);
    }
    const FunctionText& function = found->second;
    std::vector<std::pair<std::string, Variable>> bound;
    const auto bind_all = [&](const std::vector<Operand>& actual,
                              const std::vector<Variable>& formal) {
      if (actual.size() != formal.size())
        return fail(statement[0].line, "another number of arguments");
      for (size_t i = 0; i < actual.size(); ++i) {
        const Variable* variable = names_.find_variable(actual[i].word);
        if (variable == nullptr)
          return fail(statement[0].line, "an argument is no .param variable");
        bound.emplace_back(formal[i].name, *variable);
      }
    };
    if (has_result) bind_all((*operands)[0].parts, function.results);
    const bool has_arguments = operands->size() > name_at + 1;
    if (has_arguments) bind_all((*operands)[name_at + 1].parts, function.parameters);
    if (error_) return;
    names_.open_scope(true);
    for (const auto& [formal, variable] : bound) names_.bind(formal, variable);
    if (std::optional<Error> error = build(function)) error_ = std::move(error);
    names_.close_scope();
  }

  // Gives each branch of this copy its target.
  void resolve() {
    const auto end = static_cast<uint32_t>(kernel_.code.size());
    for (const uint32_t at : labels_.returns) kernel_.code[at].target = end;
    const auto place_of_label = [&](const std::string& label, uint32_t line) {
      const auto found = labels_.places.find(label);
      if (found != labels_.places.end()) return found->second;
      fail(line, "label '" + label + "' is not known");
      return 0u;
    };
    for (const Branch& branch : labels_.branches) {
      Instruction& instruction = kernel_.code[branch.at];
      if (instruction.kind == Kind::kBranch) {
        instruction.target = place_of_label(branch.label, branch.line);
        continue;
      }
      std::vector<uint32_t> table;
      for (const std::string& label : labels_.tables[branch.label]) {
        table.push_back(place_of_label(label, branch.line));
      }
      instruction.target = static_cast<uint32_t>(kernel_.tables.size());
      kernel_.tables.push_back(std::move(table));
    }
  }

  const ModuleText& module_;
  Kernel& kernel_;
  Names& names_;
  std::vector<std::string> calling_;
  Labels labels_;
  std::string label_;  // the last one
  uint32_t line_ = 0;
  uint32_t source_line_ = 0;
  std::optional<Error> error_;
};

// Lays the parameters out one after another and binds their names.
void place_parameters(const FunctionText& entry, Kernel& kernel, Names& names) {
  for (const Variable& parameter : entry.parameters) {
    const size_t alignment = parameter.alignment;
    Variable placed = parameter;
    placed.space = Space::kParam;
    placed.address = (kernel.parameter_bytes + alignment - 1) / alignment * alignment;
    kernel.parameter_bytes = placed.address + placed.bytes;
    kernel.parameters.push_back({placed.name, placed.address, placed.bytes});
    names.bind(placed.name, placed);
  }
}

}  // namespace

Result<std::unique_ptr<Kernel>> build_kernel(
    const ModuleText& module, const FunctionText& entry,
    const std::map<std::string, Variable, std::less<>>& globals, bool adversarial_shared) {
  auto kernel = std::make_unique<Kernel>();
  kernel->name = entry.name;
  kernel->threads_max = entry.threads_max;
  kernel->cluster = entry.cluster;
  Names names(*kernel, globals, adversarial_shared);
  names.open_scope(true);
  place_parameters(entry, *kernel, names);
  BodyBuilder builder(module, *kernel, names);
  if (std::optional<Error> error = builder.build(entry)) return std::move(*error);
  Instruction end;
  end.kind = Kind::kReturn;
  end.handler = &run_nothing;
  builder.append(end, {});
  names.finish();
  return kernel;
}

}  // namespace sluice::ptx
