// SPDX-License-Identifier: Apache-2.0
#include "backends/json_pointer.h"

#include <charconv>

namespace sluice {
namespace {

// The item that `name` is the index of; no sign and no leading zero (RFC 6901, section 4).
std::optional<JsonView> item_of(JsonView array, std::string_view name) {
  size_t index = 0;
  const char* const end = name.data() + name.size();
  const auto [behind, failure] = std::from_chars(name.data(), end, index);
  if (failure != std::errc() || behind != end || (name.size() > 1 && name.front() == '0'))
    return std::nullopt;
  std::optional<JsonView> found;
  size_t at = 0;
  array.for_each_item([&](JsonView item) {
    if (at++ == index) found = item;
    return !found;
  });
  return found;
}

}  // namespace

Result<JsonPointer> JsonPointer::parse(std::string_view text) {
  JsonPointer pointer;
  pointer.text_ = text;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 0 && text[0] != '/')
      return Error{.code = Code::kInvalid,
                   .message = "A JSON pointer is empty or begins with '/', not so '" +
                              pointer.text_.substr(0, 100) + "'."};
    if (text[i] == '/') {
      pointer.names_.emplace_back();
    } else if (text[i] != '~') {
      pointer.names_.back() += text[i];
    } else if (i + 1 < text.size() && (text[i + 1] == '0' || text[i + 1] == '1')) {
      pointer.names_.back() += text[++i] == '0' ? '~' : '/';
    } else {
      return Error{.code = Code::kInvalid,
                   .message = "In a JSON pointer '~' is followed by 0 or 1, not so in '" +
                              pointer.text_.substr(0, 100) + "'."};
    }
  }
  if (pointer.names_.size() >= kJsonDepthMax)
    return Error{.code = Code::kInvalid,
                 .message = "The JSON pointer is deeper than a text may be."};
  return pointer;
}

std::optional<JsonView> JsonPointer::find(JsonView root) const {
  std::optional<JsonView> at = root;
  for (const std::string& name : names_) {
    if (at->is(JsonType::kObject)) {
      at = at->member(name);
    } else if (at->is(JsonType::kArray)) {
      at = item_of(*at, name);
    } else {
      return std::nullopt;
    }
    if (!at) return std::nullopt;
  }
  return at;
}

std::string JsonPointer::front() const {
  std::string out;
  for (const std::string& name : names_) {
    out += '{';
    append_json_string(out, name);
    out += ':';
  }
  return out;
}

std::string JsonPointer::back() const { return std::string(names_.size(), '}'); }

std::string without(JsonView root, JsonView value) {
  const std::string_view raw = root.raw();
  const auto begin = static_cast<size_t>(value.raw().data() - raw.data());
  std::string out(raw.substr(0, begin));
  out += "[]";
  return out.append(raw.substr(begin + value.raw().size()));
}

}  // namespace sluice
