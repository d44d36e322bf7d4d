// SPDX-License-Identifier: Apache-2.0
#pragma once
// Places in a JSON text by name (RFC 6901, JSON Pointer), and texts with a place cut out.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace sluice {

// A pointer: "" is the whole text, "/input/items" a member of a member, "/0" also the first item.
class JsonPointer {
 public:
  // The whole text.
  JsonPointer() = default;
  // kInvalid if `text` does not follow RFC 6901; the message says how.
  static Result<JsonPointer> parse(std::string_view text);

  const std::string& text() const { return text_; }
  bool whole() const { return names_.empty(); }
  // What it points to in `root`, or nothing.
  std::optional<JsonView> find(JsonView root) const;
  // A text of nothing but objects in which it points to `value`: {"input":{"items":value}}.
  // `front` is what stands before the value, `back` behind it.
  std::string front() const;
  std::string back() const;

 private:
  std::string text_;
  std::vector<std::string> names_;  // unescaped
};

// The text of `root` with `[]` in place of `value`, which is a part of it.
std::string without(JsonView root, JsonView value);

}  // namespace sluice
