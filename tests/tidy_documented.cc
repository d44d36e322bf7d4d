// SPDX-License-Identifier: Apache-2.0
// The rule that every public declaration is documented. It reads a header as a list of statements
// in scopes; that is all of C++ that our headers use, and clang-format has laid them out.

#include <algorithm>
#include <regex>

#include "tests/tidy_rules.h"

namespace sluice::tidy {
namespace {

// What encloses a declaration.
struct Scope {
  bool hidden = false;  // nobody outside can name it, whatever it says inside
  bool open = true;     // public for the moment
};

// A declaration as it stands in the file: lines count from 0.
struct Statement {
  std::string text;  // the code up to its `;` or its body, on one line
  size_t first = 0;
  size_t last = 0;  // where its `;` or the end of its body is
  bool has_body = false;
};

bool matches(const std::string& text, const char* pattern) {
  return std::regex_search(text, std::regex(pattern));
}

std::string without_template(std::string text) {
  while (text.starts_with("template")) {
    size_t depth = 0;
    size_t at = text.find('<');
    for (; at < text.size(); ++at) {
      if (text[at] == '<') ++depth;
      if (text[at] == '>' && --depth == 0) break;
    }
    text = at < text.size() ? text.substr(at + 1) : "";
    text.erase(0, text.find_first_not_of(' '));
  }
  return text;
}

constexpr const char* kTypeWords = R"(^(class|struct|union|enum class|enum)\b)";

// The name of a type that `text` declares, or an empty string.
std::string type_name(const std::string& text) {
  std::smatch match;
  const std::regex type(R"(^(?:class|struct|union|enum class|enum)\s+)"
                        R"((?:alignas\(\w+\)\s*)?(?:\[\[\w+\]\]\s*)?(\w+)(?!\w|::))");
  return std::regex_search(text, match, type) ? match[1].str() : std::string();
}

// Whether `text` declares a function: a name and a parenthesis before any `=` or `{`, outside <>.
bool is_function(const std::string& text) {
  int angles = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '<') ++angles;
    if (text[i] == '>') --angles;
    if (text[i] == '=' || text[i] == '{') return false;
    if (text[i] == '(' && angles == 0) {
      const std::string before = text.substr(0, i);
      return matches(before, R"(\w$)") && !matches(before, R"(\b(alignas|decltype|noexcept)$)");
    }
  }
  return false;
}

// Functions that say themselves what they are, by their shape.
const char* const kSaysItself[] = {
    R"(^(friend|using|static_assert|typedef|extern)\b)",
    R"(~|\boperator\b|= (default|delete)\s*$|\boverride\b)",  // what every class has, or a base
    R"(^(\w+)\((const )?\1&)",                                // copies and moves
    R"(\w(<\w+>)?::~?\w+\()",                                 // declared in its class
};
// The same, if they fit on one line: constructors, and what is named after what it returns.
const char* const kSaysItselfShortly[] = {
    R"(^(constexpr )?(explicit )?[A-Z]\w+\()",
    R"(\(\) const( noexcept)?( = 0)?\s*$)",
};

template <size_t N>
bool matches_any(const std::string& text, const char* const (&patterns)[N]) {
  return std::any_of(std::begin(patterns), std::end(patterns),
                     [&](const char* pattern) { return matches(text, pattern); });
}

// Reads a header and reports each declaration that has no comment.
class Reader {
 public:
  explicit Reader(const File& file) : file_(file) {}

  Findings run() {
    for (size_t i = 0; i < file_.code.size(); ++i) {
      const std::string& line = file_.code[i];
      if (continued_ || matches(line, R"(^\s*#)")) {
        continued_ = line.ends_with('\\');
        continue;
      }
      for (const char c : line) take(c, i);
      take(' ', i);
    }
    return std::move(findings_);
  }

 private:
  void take(char c, size_t line) {
    if (skip_ > 0) {  // inside the body of a function or an initializer
      skip_ += (c == '{') - (c == '}');
      if (skip_ == 0) body_closed_ = true;
      statement_.last = line;
      return;
    }
    if (body_closed_ && c != ' ') {
      body_closed_ = false;
      // After `= {}` the statement goes on; after the body of a function the next one begins.
      if (c != ';' && c != ',' && c != ')' && c != '{') finish();
    }
    if (c == '(') ++parentheses_;
    if (c == ')') --parentheses_;
    if (c == '{' && parentheses_ == 0) return open(line);
    if (c == '{') return begin_skip();
    if (c == '}') return close();
    if (c == ';' && parentheses_ == 0) {
      statement_.last = line;
      return finish();
    }
    if (c == ':' && matches(statement_.text, R"(^(public|private|protected)$)")) {
      scopes_.back().open = statement_.text == "public";
      statement_ = {};
      return;
    }
    if (statement_.text.empty()) {
      if (c == ' ') return;
      statement_.first = line;
    }
    if (c == ' ' && statement_.text.ends_with(' ')) return;
    statement_.text += c;
    statement_.last = line;
  }

  bool visible() const { return scopes_.back().open && !scopes_.back().hidden; }
  void begin_skip() { skip_ = 1; }

  void open(size_t line) {
    const std::string text = without_template(statement_.text);
    statement_.last = line;
    if (matches(text, R"(^(inline )?namespace\b|^extern ")")) {
      scopes_.push_back({!visible() || matches(text, R"(^namespace $)"), true});
      statement_ = {};
      return;
    }
    if (matches(text, kTypeWords) && !is_function(text)) {
      const bool is_enum = text.starts_with("enum");
      report_type(type_name(text));
      if (is_enum) return begin_skip();
      scopes_.push_back({!visible(), !text.starts_with("class")});
      statement_ = {};
      return;
    }
    statement_.has_body = true;
    begin_skip();
  }

  void close() {
    if (scopes_.size() > 1) scopes_.pop_back();
    statement_ = {};
  }

  void finish() {
    const Statement statement = std::move(statement_);
    statement_ = {};
    parentheses_ = 0;
    const std::string text = without_template(statement.text);
    if (text.empty() || !visible() || !is_function(text)) return;
    const bool one_line = statement.first == statement.last;
    if (is_documented(statement)) {
      documented_line_ = statement.last;
    } else if (!matches_any(text, kSaysItself) &&
               !(one_line && (statement.has_body || matches_any(text, kSaysItselfShortly)))) {
      report(statement.first, text.substr(0, text.find('(')));
    }
  }

  void report_type(const std::string& name) {
    if (!visible() || name.empty() || is_documented(statement_)) return;
    // base/mailbox.h opens with what a Mailbox is.
    std::string file_name = file_.path.substr(file_.path.rfind('/') + 1);
    file_name.resize(file_name.find('.'));
    std::erase(file_name, '_');
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return static_cast<char>(std::tolower(c)); });
    if (lower != file_name || !opens_with_comment()) report(statement_.first, name);
  }

  bool opens_with_comment() const {
    return std::any_of(
        file_.lines.begin() + 1,
        file_.lines.begin() + static_cast<long>(std::min<size_t>(4, file_.lines.size())),
        [](const std::string& line) { return line.starts_with("// "); });
  }

  bool is_comment(size_t line) const { return matches(file_.lines[line], R"(^\s*//)"); }
  bool has_comment(size_t line) const {
    return file_.lines[line].find("//") != std::string::npos &&
           file_.code[line].find("//") == std::string::npos;
  }

  bool is_documented(const Statement& statement) const {
    if (statement.first > 0 && is_comment(statement.first - 1)) return true;
    for (size_t i = statement.first; i <= statement.last; ++i) {
      if (has_comment(i)) return true;
    }
    return statement.first == statement.last && documented_line_ > 0 &&
           statement.first == documented_line_ + 1;
  }

  void report(size_t line, const std::string& what) {
    findings_.push_back({file_.path, line + 1, "no comment says what it is: " + what});
  }

  const File& file_;
  Findings findings_;
  Statement statement_;
  std::vector<Scope> scopes_ = {Scope{}};
  size_t documented_line_ = 0;  // the last line of the last documented declaration
  int parentheses_ = 0;
  int skip_ = 0;  // open braces of what is skipped
  bool body_closed_ = false;
  bool continued_ = false;  // in a macro of several lines
};

}  // namespace

Findings check_documented(const File& file) { return Reader(file).run(); }

}  // namespace sluice::tidy
