// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/lexer.h"

#include <algorithm>

namespace sluice::ptx {
namespace {

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%' || c == '.';
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        skip(at_ + 1);
      } else if (text_.substr(at_, 2) == "//") {
        skip(std::min(text_.find('\n', at_), text_.size()));
      } else if (text_.substr(at_, 2) == "/*") {
        const size_t end = text_.find("*/", at_ + 2);
        skip(end == std::string_view::npos ? text_.size() : end + 2);
      } else if (is_word_character(c)) {
        take(word_end(), true);
      } else if (c == '"') {
        const size_t end = text_.find('"', at_ + 1);
        take(end == std::string_view::npos ? text_.size() : end + 1, false);
      } else {
        take(at_ + 1, false);
      }
    }
    return std::move(tokens_);
  }

 private:
  // `::` joins words, as in `shared::cta`.
  size_t word_end() const {
    size_t end = at_;
    while (end < text_.size()) {
      if (is_word_character(text_[end])) {
        ++end;
      } else if (text_.substr(end, 2) == "::") {
        end += 2;
      } else {
        break;
      }
    }
    return end;
  }
  void skip(size_t end) {
    line_ +=
        static_cast<uint32_t>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    at_ = end;
  }
  void take(size_t end, bool is_word) {
    tokens_.push_back({text_.substr(at_, end - at_), line_, is_word});
    skip(end);
  }

  std::string_view text_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view text) { return Lexer(text).run(); }

}  // namespace sluice::ptx
