// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/declarations.h"

#include <algorithm>
#include <cstring>

#include "tests/ptx/opcode.h"

namespace sluice::ptx {
namespace {

constexpr size_t kVariableBytesMax = size_t{1} << 30;

std::optional<uint64_t> number_of(const Token& token) {
  Operand operand;
  operand.word = token.text;
  return parse_number(operand, Type::kU64);
}

std::optional<Space> space_of(std::string_view word) {
  if (word == ".global") return Space::kGlobal;
  if (word == ".const") return Space::kConst;
  if (word == ".shared") return Space::kShared;
  if (word == ".local") return Space::kLocal;
  if (word == ".param") return Space::kParam;
  return std::nullopt;
}

class DeclarationParser {
 public:
  explicit DeclarationParser(Tokens tokens) : tokens_(tokens) {}

  Result<Declaration> run() {
    for (; at_ < tokens_.size() && tokens_[at_].text != "="; ++at_) {
      if (!take_one()) return fail("is not understood in a declaration");
    }
    Variable& variable = declaration_.variable;
    const size_t element = size_of(declaration_.type);
    if (variable.name.empty() || element == 0) return error_at(tokens_[0].line, "no name or type");
    if (count_ > kVariableBytesMax / element) return error_at(tokens_[0].line, "too large");
    variable.bytes = count_ * element;
    if (variable.alignment == 0) variable.alignment = element;
    if (at_ < tokens_.size() && !take_initial(element)) return fail("is not understood as a value");
    return std::move(declaration_);
  }

 private:
  Error fail(std::string_view why) const {
    const Token& token = tokens_[std::min(at_, tokens_.size() - 1)];
    return error_at(token.line, "'" + std::string(token.text) + "' " + std::string(why));
  }

  // A directive, the name, or a bound of an array.
  bool take_one() {
    const std::string_view word = tokens_[at_].text;
    if (const std::optional<Space> space = space_of(word)) {
      // `.ptr .global` says what a pointer points to, not where the variable is.
      if (!is_pointer_) declaration_.variable.space = *space;
      return true;
    }
    if (word == ".ptr") return is_pointer_ = true;
    if (word == ".align") {
      if (++at_ >= tokens_.size()) return false;
      const std::optional<uint64_t> value = number_of(tokens_[at_]);
      if (!value || *value == 0) return false;
      if (!is_pointer_) declaration_.variable.alignment = *value;
      return true;
    }
    if (word == "[") return take_bound();
    if (word[0] == '.') {
      const std::optional<Type> type = parse_type(word.substr(1));
      if (type) declaration_.type = *type;
      return type || word == ".extern" || word == ".visible" || word == ".weak" ||
             word == ".common" || word == ".attribute" || word == ".managed";
    }
    declaration_.variable.name = word;
    return tokens_[at_].is_word;
  }

  // `[16]`, or `[]` for dynamic shared memory.
  bool take_bound() {
    if (++at_ >= tokens_.size()) return false;
    if (tokens_[at_].text == "]") {
      count_ = 0;
      return true;
    }
    const std::optional<uint64_t> value = number_of(tokens_[at_]);
    if (!value || *value > kVariableBytesMax || count_ > kVariableBytesMax) return false;
    count_ *= *value;
    ++at_;
    return at_ < tokens_.size() && tokens_[at_].text == "]";
  }

  // Numbers in any nesting of braces, in order; what is not given is 0.
  bool take_initial(size_t element) {
    std::vector<std::byte>& bytes = declaration_.initial;
    bytes.assign(declaration_.variable.bytes, std::byte{0});
    size_t offset = 0;
    for (++at_; at_ < tokens_.size(); ++at_) {
      const std::string_view word = tokens_[at_].text;
      if (word == "{" || word == "}" || word == ",") continue;
      Operand operand;
      operand.minus = word == "-";
      if (operand.minus && ++at_ == tokens_.size()) return false;
      operand.word = tokens_[at_].text;
      const std::optional<uint64_t> value = parse_number(operand, declaration_.type);
      if (!value || offset + element > bytes.size()) return false;
      std::memcpy(bytes.data() + offset, &*value, element);
      offset += element;
    }
    return true;
  }

  Tokens tokens_;
  size_t at_ = 0;
  bool is_pointer_ = false;
  size_t count_ = 1;
  Declaration declaration_ = {};
};

class ModuleParser {
 public:
  explicit ModuleParser(ModuleText& module) : module_(module), tokens_(module.tokens) {}

  std::optional<Error> run() {
    while (at_ < tokens_.size()) {
      if (std::optional<Error> error = take_directive()) return error;
    }
    return std::nullopt;
  }

 private:
  bool is(std::string_view word) const { return at_ < tokens_.size() && tokens_[at_].text == word; }

  void skip_line() {
    const uint32_t line = tokens_[at_].line;
    while (at_ < tokens_.size() && tokens_[at_].line == line) ++at_;
  }
  // To behind the brace that closes the one at at_.
  bool skip_braces() {
    size_t depth = 0;
    for (; at_ < tokens_.size(); ++at_) {
      if (is("{")) ++depth;
      if (is("}") && --depth == 0) {
        ++at_;
        return true;
      }
    }
    return false;
  }

  std::optional<Error> take_directive() {
    for (const std::string_view line : {".version", ".target", ".address_size", ".file", ".loc"}) {
      if (is(line)) {
        skip_line();
        return std::nullopt;
      }
    }
    if (is(".section")) {
      while (at_ < tokens_.size() && !is("{")) ++at_;
      return skip_braces() ? std::nullopt : std::optional(fail("a section does not end"));
    }
    // To the semicolon of a declaration, or the word that makes it a function.
    const size_t begin = at_;
    while (at_ < tokens_.size() && !is(";") && !is(".func") && !is(".entry")) ++at_;
    if (at_ == tokens_.size()) {
      at_ = begin;
      return fail("is not understood");
    }
    if (!is(";")) return take_function();
    const Tokens statement = Tokens(tokens_).subspan(begin, at_ - begin);
    ++at_;
    if (statement.empty() || statement[0].text == ".pragma" || statement[0].text == ".alias") {
      return std::nullopt;
    }
    Result<Declaration> declaration = parse_declaration(statement);
    if (!declaration.ok()) return declaration.error();
    module_.variables.push_back(std::move(declaration).value());
    return std::nullopt;
  }

  Error fail(std::string_view why) const {
    if (at_ >= tokens_.size()) return error_at(tokens_.back().line, "the text ends early");
    return error_at(tokens_[at_].line,
                    "'" + std::string(tokens_[at_].text) + "' " + std::string(why));
  }

  // ( .param .u64 a, .param .u32 b )
  std::optional<Error> take_parameters(std::vector<Variable>& parameters) {
    ++at_;
    while (!is(")")) {
      const size_t begin = at_;
      while (at_ < tokens_.size() && !is(",") && !is(")")) ++at_;
      if (at_ == tokens_.size() || at_ == begin) return fail("ends a list of parameters");
      Result<Declaration> parsed = parse_declaration(Tokens(tokens_).subspan(begin, at_ - begin));
      if (!parsed.ok()) return parsed.error();
      parameters.push_back(std::move(parsed).value().variable);
      if (is(",")) ++at_;
    }
    ++at_;
    return std::nullopt;
  }

  std::optional<Error> take_function() {
    FunctionText function;
    function.is_entry = is(".entry");
    ++at_;
    if (is("(")) {
      if (std::optional<Error> error = take_parameters(function.results)) return error;
    }
    if (at_ >= tokens_.size() || !tokens_[at_].is_word) return fail("is not a function's name");
    function.name = tokens_[at_++].text;
    if (is("(")) {
      if (std::optional<Error> error = take_parameters(function.parameters)) return error;
    }
    while (at_ < tokens_.size() && !is("{") && !is(";")) {
      if (is(".maxntid") || is(".reqntid")) {
        const std::array<uint32_t, 3> threads = take_dim();
        function.threads_max = threads[0] * threads[1] * threads[2];
      } else if (is(".reqnctapercluster")) {
        function.cluster = take_dim();
      } else {
        ++at_;
      }
    }
    if (is("{")) {
      const size_t begin = at_;
      if (!skip_braces()) return fail("has a body that does not end");
      function.has_body = true;
      function.body = Tokens(tokens_).subspan(begin, at_ - begin);
    } else {
      ++at_;
    }
    // A declaration may stand before the definition.
    FunctionText& kept = module_.functions[function.name];
    if (!kept.has_body) kept = std::move(function);
    return std::nullopt;
  }

  // Up to three numbers behind a directive; those that are missing are 1.
  std::array<uint32_t, 3> take_dim() {
    std::array<uint32_t, 3> dim = {1, 1, 1};
    size_t count = 0;
    for (++at_; at_ < tokens_.size() && count < dim.size(); ++at_) {
      if (is(",")) continue;
      const std::optional<uint64_t> value = number_of(tokens_[at_]);
      if (!value) break;
      dim[count++] = static_cast<uint32_t>(std::min<uint64_t>(*value, 1024));
    }
    return dim;
  }

  ModuleText& module_;
  const std::vector<Token>& tokens_;
  size_t at_ = 0;
};

}  // namespace

Error error_at(uint32_t line, std::string_view message) {
  return Error{Code::kInvalid, "PTX line " + std::to_string(line) + ": " + std::string(message)};
}

Result<Declaration> parse_declaration(Tokens tokens) { return DeclarationParser(tokens).run(); }

Result<ModuleText> parse_module(std::string_view text) {
  ModuleText module;
  module.tokens = tokenize(text);
  if (std::optional<Error> error = ModuleParser(module).run()) return std::move(*error);
  return module;
}

}  // namespace sluice::ptx
