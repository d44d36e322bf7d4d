// SPDX-License-Identifier: Apache-2.0
// From text to lines of code: comments and the contents of strings become blanks, so that a rule
// about code does not fire on prose. Lengths stay the same, so that places stay the same.

#include <cctype>

#include "tests/tidy_rules.h"

namespace sluice::tidy {
namespace {

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Walks over C++ text once and blanks what is not code.
class Blanker {
 public:
  explicit Blanker(std::string_view text) : text_(text) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (starts("//")) {
        blank(text_.find('\n', at_));
      } else if (starts("/*")) {
        const size_t end = text_.find("*/", at_ + 2);
        blank(end == std::string::npos ? end : end + 2);
      } else if (starts("R\"") && !word_before()) {
        raw_string();
      } else if (text_[at_] == '"' || (text_[at_] == '\'' && !word_before())) {
        quoted(text_[at_]);
      } else {
        ++at_;
      }
    }
    return text_;
  }

 private:
  bool starts(std::string_view what) const { return text_.compare(at_, what.size(), what) == 0; }
  // Whether the previous character belongs to a number or a name: 1'000, u8R"…".
  bool word_before() const {
    return at_ > 0 && std::isalnum(static_cast<unsigned char>(text_[at_ - 1])) != 0;
  }
  void blank(size_t end) {
    for (end = std::min(end, text_.size()); at_ < end; ++at_) {
      if (text_[at_] != '\n') text_[at_] = ' ';
    }
  }
  // Leaves the quotes, so that `extern "C"` and `#include "x"` keep their shape.
  void quoted(char quote) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote && text_[end] != '\n') {
      end += text_[end] == '\\' ? 2 : 1;
    }
    ++at_;
    blank(end);
    if (at_ < text_.size()) ++at_;
  }
  void raw_string() {
    const size_t open = text_.find('(', at_);
    if (open == std::string::npos) return blank(open);
    const std::string close = ")" + text_.substr(at_ + 2, open - at_ - 2) + "\"";
    const size_t end = text_.find(close, open);
    blank(end == std::string::npos ? end : end + close.size());
  }

  std::string text_;
  size_t at_ = 0;
};

}  // namespace

File make_file(std::string path, std::string_view text) {
  return {std::move(path), split_lines(text), split_lines(Blanker(text).run())};
}

}  // namespace sluice::tidy
