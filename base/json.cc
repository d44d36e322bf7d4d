// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

// simdjson finds the structure (and checks UTF-8) at the speed of memory; its On-Demand walk is
// lazy, so every scalar it passes is validated here before anything may rely on it. simdjson's own
// scalar parsers are not used: they refuse integers beyond 64 bits and let lone low surrogates
// through, depending on the version.
#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <algorithm>
#include <list>
#include <vector>

#include "base/json_scan.h"

namespace sluice {
namespace {

namespace ondemand = simdjson::ondemand;
using json::is_blank;
using json::Scan;

static_assert(simdjson::SIMDJSON_PADDING <= Chunk::kPadding);

// Above this size the parser's tables (about 6 bytes per byte of text) are not kept for next time.
constexpr size_t kParserBytesKeptMax = 1024 * 1024;
// Up to this many keys comparing all pairs is faster than sorting.
constexpr size_t kPairwiseKeysMax = 8;

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Walks a text once and checks all of it. Used for one text.
class Validator {
 public:
  Validator(std::string_view text, ondemand::document& document)
      : begin_(text.data()), end_(text.data() + text.size()), document_(document) {
    keys_.reserve(kPairwiseKeysMax);
  }

  // Whether the document is valid; if not, error() says why.
  bool root() {
    ondemand::json_type type;
    if (const auto code = document_.type().get(type)) return fail(code);
    if (type == ondemand::json_type::array) {
      ondemand::array array;
      if (const auto code = document_.get_array().get(array)) return fail(code);
      if (!items(array, 1)) return false;
    } else if (type == ondemand::json_type::object) {
      ondemand::object object;
      if (const auto code = document_.get_object().get(object)) return fail(code);
      if (!members(object, 1)) return false;
    } else {
      const std::string_view token = trim({begin_, static_cast<size_t>(end_ - begin_)});
      return scalar(token.data(), token.data() + token.size());
    }
    // Only at the end there is no location.
    const char* at;
    return document_.current_location().get(at) == simdjson::OUT_OF_BOUNDS ||
           fail(simdjson::TRAILING_CONTENT);
  }

  Error error() const {
    return {Code::kInvalid, "invalid JSON at byte " + std::to_string(at_) + ": " + problem_};
  }

 private:
  bool fail(const char* at, std::string problem) {
    at_ = static_cast<size_t>(at - begin_);
    problem_ = std::move(problem);
    return false;
  }
  bool fail(simdjson::error_code code) {
    const char* const at = location();
    switch (code) {
      case simdjson::TAPE_ERROR:
        return fail(at, "not the expected punctuation");
      case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
        return fail(end_, "the text does not end with the array or object it began with");
      case simdjson::TRAILING_CONTENT:
        return fail(at, "something follows the value");
      default:
        return fail(at, simdjson::error_message(code));
    }
  }

  bool scalar(const char* at, const char* end) {
    const Scan scan = json::scan_scalar(at, end);
    if (scan.problem != nullptr) return fail(scan.end, scan.problem);
    return scan.end == end || fail(scan.end, "something follows the value");
  }

  bool value(ondemand::value value, size_t depth) {
    ondemand::json_type type;
    if (const auto code = value.type().get(type)) return fail(code);
    if (type == ondemand::json_type::array) {
      ondemand::array array;
      if (const auto code = value.get_array().get(array)) return fail(code);
      return items(array, depth + 1);
    }
    if (type == ondemand::json_type::object) {
      ondemand::object object;
      if (const auto code = value.get_object().get(object)) return fail(code);
      return members(object, depth + 1);
    }
    // The token ends where the next one begins; the next one of the last is the end of the text.
    const std::string_view token = value.raw_json_token();
    if (token.data() >= end_) return fail(end_, "a value is missing");
    const std::string_view trimmed =
        trim(token.substr(0, static_cast<size_t>(end_ - token.data())));
    if (!scalar(trimmed.data(), trimmed.data() + trimmed.size())) return false;
    // Going on, On-Demand would take a string and a colon for a key and skip what follows.
    const char* const next = token.data() + token.size();
    if (next < end_ && *next == ':') return fail(next, "not the expected punctuation");
    return true;
  }

  bool items(ondemand::array& array, size_t depth) {
    if (depth > kJsonDepthMax) return fail_depth();
    for (auto item : array) {
      ondemand::value item_value;
      if (const auto code = item.get(item_value)) return fail(code);
      if (!value(item_value, depth)) return false;
    }
    return true;
  }

  bool members(ondemand::object& object, size_t depth) {
    if (depth > kJsonDepthMax) return fail_depth();
    const size_t first_key = keys_.size();
    for (auto field : object) {
      ondemand::field member;
      if (const auto code = std::move(field).get(member)) return fail(code);
      if (!key(member.key().raw() - 1) || !value(member.value(), depth)) return false;
    }
    return keys_unique(first_key);
  }

  // Validates the key whose quote is at `at` and remembers it.
  bool key(const char* at) {
    if (at >= end_) return fail(end_, "a key is missing");
    const Scan scan = json::scan_string(at, end_);
    if (scan.problem != nullptr) return fail(scan.end, scan.problem);
    const std::string_view raw(at + 1, static_cast<size_t>(scan.end - at) - 2);
    if (raw.find('\\') == raw.npos) {
      keys_.push_back(raw);
    } else {
      keys_.push_back(unescaped_.emplace_back(json::unescape(raw)));
    }
    return true;
  }

  // Whether the keys of the innermost object, the ones from `first` on, differ; forgets them.
  bool keys_unique(size_t first) {
    const auto begin = keys_.begin() + static_cast<ptrdiff_t>(first);
    const std::string_view* twice = nullptr;
    if (keys_.size() - first <= kPairwiseKeysMax) {
      for (auto key = begin; key != keys_.end(); ++key) {
        if (std::find(begin, key, *key) != key) twice = &*key;
      }
    } else {
      std::sort(begin, keys_.end());
      const auto found = std::adjacent_find(begin, keys_.end());
      if (found != keys_.end()) twice = &*found;
    }
    if (twice != nullptr) {
      std::string problem = "duplicate key ";
      append_json_string(problem, twice->substr(0, 64));
      return fail(location(), std::move(problem));
    }
    keys_.resize(first);
    return true;
  }

  bool fail_depth() {
    return fail(location(), "nested deeper than " + std::to_string(kJsonDepthMax));
  }
  const char* location() {
    const char* at = end_;
    if (document_.current_location().get(at) || at < begin_ || at > end_) at = end_;
    return at;
  }

  const char* begin_;
  const char* end_;
  ondemand::document& document_;
  std::vector<std::string_view> keys_;  // of all objects that are open, the innermost last
  std::list<std::string> unescaped_;    // what keys_ points to where a key has escapes
  size_t at_ = 0;
  std::string problem_;
};

}  // namespace

Result<JsonView> parse_json(const Slice& text) {
  const std::string_view bytes = text.view();
  const std::string_view value = trim(bytes);
  if (value.empty()) return Error{Code::kInvalid, "invalid JSON: the text is empty"};
  // Newer versions of simdjson skip a byte order mark; RFC 8259 lets us refuse it.
  if (value.front() == '\xef') return Error{Code::kInvalid, "invalid JSON: not a value"};

  static thread_local ondemand::parser parser;
  ondemand::document document;
  const auto code =
      parser.iterate(bytes.data(), bytes.size(), bytes.size() + simdjson::SIMDJSON_PADDING)
          .get(document);
  if (code == simdjson::UTF8_ERROR) {
    return Error{Code::kInvalid, "invalid JSON: the text is not valid UTF-8"};
  }
  if (code != simdjson::SUCCESS) {
    return Error{Code::kInvalid, std::string("invalid JSON: ") + simdjson::error_message(code)};
  }
  Validator validator(bytes, document);
  const bool valid = validator.root();
  Result<JsonView> result = valid ? Result<JsonView>(JsonView(value)) : validator.error();
  if (bytes.size() > kParserBytesKeptMax) parser = ondemand::parser();
  return result;
}

}  // namespace sluice
