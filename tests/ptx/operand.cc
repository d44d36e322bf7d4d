// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/operand.h"

#include <bit>
#include <charconv>
#include <string>

namespace sluice::ptx {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class OperandParser {
 public:
  explicit OperandParser(Tokens tokens) : tokens_(tokens) {}

  std::optional<std::vector<Operand>> list(std::string_view end) {
    std::vector<Operand> operands;
    if (take(end)) return operands;
    for (;;) {
      std::optional<Operand> operand = one();
      if (!operand) return std::nullopt;
      operands.push_back(std::move(*operand));
      if (end.empty() ? at_ == tokens_.size() : take(end)) return operands;
      if (!take(",")) return std::nullopt;
    }
  }

 private:
  bool take(std::string_view mark) {
    if (mark.empty()) return at_ == tokens_.size();
    if (at_ == tokens_.size() || tokens_[at_].text != mark) return false;
    ++at_;
    return true;
  }

  std::optional<Operand> one() {
    std::optional<Operand> operand;
    if (take("{")) {
      operand = group(Operand::Form::kVector, "}");
    } else if (take("(")) {
      operand = group(Operand::Form::kList, ")");
    } else if (take("[")) {
      operand = address();
    } else {
      operand = word();
    }
    if (!operand || !take("|")) return operand;
    std::optional<Operand> second = word();
    if (!second) return std::nullopt;
    Operand pair;
    pair.form = Operand::Form::kPair;
    pair.parts = {*operand, *second};
    return pair;
  }

  std::optional<Operand> group(Operand::Form form, std::string_view end) {
    std::optional<std::vector<Operand>> parts = list(end);
    if (!parts) return std::nullopt;
    Operand operand;
    operand.form = form;
    operand.parts = std::move(*parts);
    return operand;
  }

  std::optional<Operand> address() {
    std::optional<Operand> base = word();
    if (!base || !take("]")) return std::nullopt;
    Operand operand;
    operand.form = Operand::Form::kAddress;
    operand.offset = base->offset;
    base->offset = 0;
    operand.parts = {*base};
    return operand;
  }

  // [!] [-] word [+ [-] number]
  std::optional<Operand> word() {
    Operand operand;
    operand.negated = take("!");
    operand.minus = take("-");
    if (at_ == tokens_.size() || !tokens_[at_].is_word) return std::nullopt;
    operand.word = tokens_[at_++].text;
    bool minus = false;
    if (take("-")) {
      minus = true;
    } else if (!take("+")) {
      return operand;
    }
    if (take("-")) minus = !minus;
    Operand number;
    if (at_ == tokens_.size()) return std::nullopt;
    number.word = tokens_[at_++].text;
    number.minus = minus;
    const std::optional<uint64_t> value = parse_number(number, Type::kS64);
    if (!value) return std::nullopt;
    operand.offset = static_cast<int64_t>(*value);
    return operand;
  }

  Tokens tokens_;
  size_t at_ = 0;
};

std::optional<uint64_t> parse_integer(std::string_view digits) {
  int base = 10;
  if (digits.ends_with('U') || digits.ends_with('u')) digits.remove_suffix(1);
  if (digits.size() > 1 && digits[0] == '0') {
    const char kind = digits[1];
    base = kind == 'x' || kind == 'X' ? 16 : kind == 'b' || kind == 'B' ? 2 : 8;
    digits.remove_prefix(base == 8 ? 1 : 2);
  }
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_float(std::string_view word) {
  const char kind = word.size() > 2 && word[0] == '0' ? word[1] : ' ';
  if (kind == 'f' || kind == 'F' || kind == 'd' || kind == 'D') {
    uint64_t bits = 0;
    const auto [end, error] = std::from_chars(word.data() + 2, word.data() + word.size(), bits, 16);
    if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
    if (kind == 'd' || kind == 'D') return std::bit_cast<double>(bits);
    return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  }
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return value;
}

bool is_float_word(std::string_view word) {
  const bool hex = word.starts_with("0x") || word.starts_with("0X");
  if (hex) return false;
  return word.find_first_of(".fFdDeE") != std::string_view::npos;
}

uint64_t float_bits(double value, Type type) {
  switch (type) {
    case Type::kF64:
    case Type::kB64:
      return std::bit_cast<uint64_t>(value);
    case Type::kF16:
      return to_half(value).bits;
    case Type::kBf16:
      return to_bfloat(value).bits;
    default:
      return std::bit_cast<uint32_t>(static_cast<float>(value));
  }
}

}  // namespace

bool Operand::is_number() const {
  return form == Form::kWord && !word.empty() && is_digit(word[0]);
}

std::optional<std::vector<Operand>> parse_operands(Tokens tokens) {
  return OperandParser(tokens).list("");
}

std::optional<uint64_t> parse_number(const Operand& operand, Type type) {
  if (!operand.is_number()) return std::nullopt;
  if (is_float_word(operand.word)) {
    const std::optional<double> value = parse_float(operand.word);
    if (!value) return std::nullopt;
    return float_bits(operand.minus ? -*value : *value, type);
  }
  const std::optional<uint64_t> value = parse_integer(operand.word);
  if (!value) return std::nullopt;
  return operand.minus ? uint64_t{0} - *value : *value;
}

}  // namespace sluice::ptx
