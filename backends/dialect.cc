// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect.h"

#include <charconv>

#include "backends/dialect_cohere.h"
#include "backends/dialect_kserve.h"
#include "backends/dialect_oip.h"
#include "backends/dialect_openai.h"
#include "backends/dialect_tei.h"

namespace sluice {
namespace {

// In the order that messages name them.
constexpr const Dialect& (*kDialects[])() = {openai_dialect, tei_dialect, cohere_dialect,
                                             kserve_dialect, oip_dialect, oip_json_dialect};

// Percent-encoding undone; a broken escape stays as it is.
std::string decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && text.size() - i > 2 &&
        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Takes the text up to the next '/', and that, off the front of `path`.
std::string_view take_segment(std::string_view& path) {
  const size_t end = path.find('/');
  const std::string_view segment = path.substr(0, end);
  path.remove_prefix(end == path.npos ? path.size() : end + 1);
  return segment;
}

// Whether a segment fits one of the pattern; adds what stood for its "{}".
bool match_segment(std::string_view pattern, std::string_view segment,
                   std::vector<std::string>* captures) {
  const size_t hole = pattern.find("{}");
  if (hole == pattern.npos) return pattern == segment;
  const std::string_view before = pattern.substr(0, hole);
  const std::string_view after = pattern.substr(hole + 2);
  if (segment.size() <= before.size() + after.size() || !segment.starts_with(before) ||
      !segment.ends_with(after))
    return false;
  if (captures != nullptr) {
    segment.remove_prefix(before.size());
    segment.remove_suffix(after.size());
    captures->push_back(decoded(segment));
  }
  return true;
}

}  // namespace

bool match_path(std::string_view pattern, std::string_view path,
                std::vector<std::string>* captures) {
  if (captures != nullptr) captures->clear();
  if (pattern.find("{}") == pattern.npos) return pattern == path;
  for (;;) {
    const bool more = pattern.find('/') != pattern.npos;
    if (more != (path.find('/') != path.npos)) return false;
    if (!match_segment(take_segment(pattern), take_segment(path), captures)) return false;
    if (!more) return true;
  }
}

const Dialect* find_dialect(std::string_view name) {
  for (const auto dialect : kDialects) {
    if (dialect().name() == name) return &dialect();
  }
  return nullptr;
}

std::string dialect_names() {
  std::string names;
  for (const auto dialect : kDialects) {
    if (!names.empty()) names += ", ";
    names += dialect().name();
  }
  return names;
}

}  // namespace sluice
