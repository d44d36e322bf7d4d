// SPDX-License-Identifier: Apache-2.0
#include "backends/codec_common.h"

#include <algorithm>

namespace sluice::codec {
namespace {

// Slices up to this size are copied into the text around them.
constexpr size_t kCopiedBytesMax = 1024;

std::string_view name_of(JsonType type) {
  switch (type) {
    case JsonType::kNull:
      return "null";
    case JsonType::kBool:
      return "a boolean";
    case JsonType::kNumber:
      return "a number";
    case JsonType::kString:
      return "a string";
    case JsonType::kArray:
      return "an array";
    case JsonType::kObject:
      return "an object";
  }
  return "unknown";
}

std::string quoted(std::string_view name) { return "'" + std::string(name) + "'"; }

}  // namespace

Error invalid(std::string_view param, std::string message) {
  return Error{.code = Code::kInvalid, .message = std::move(message), .param = std::string(param)};
}

Error upstream(std::string message) {
  return Error{.code = Code::kUpstream, .message = std::move(message)};
}

Error wrong_type(std::string_view param, const std::string& place, std::string_view wanted,
                 JsonView got) {
  std::string message = quoted(place) + " must be ";
  message.append(wanted).append(", not ").append(name_of(got.type())).append(".");
  return invalid(param, std::move(message));
}

Result<JsonView> parse_object(const Slice& body) {
  Result<JsonView> root = parse_json(body);
  if (root.ok() && !root.value().is(JsonType::kObject))
    return invalid("", "The body must be a JSON object, not " +
                           std::string(name_of(root.value().type())) + ".");
  return root;
}

Slice part_of(const Slice& body, JsonView value) {
  return body.part(static_cast<size_t>(value.raw().data() - body.data()), value.raw().size());
}

std::optional<Error> check(const Field& field, JsonView value) {
  const std::string name(field.name);
  switch (field.kind) {
    case Kind::kBool:
      if (!value.is(JsonType::kBool)) return wrong_type(name, name, "a boolean", value);
      break;
    case Kind::kString:
      if (!value.is(JsonType::kString)) return wrong_type(name, name, "a string", value);
      break;
    case Kind::kPositive: {
      const std::optional<int64_t> n =
          value.is(JsonType::kNumber) ? value.integer() : std::optional<int64_t>();
      if (!n || *n < 1 || *n > UINT32_MAX)
        return invalid(name, quoted(name) + " must be a positive integer.");
      break;
    }
    case Kind::kSide: {
      const std::string side = value.is(JsonType::kString) ? value.text() : "";
      if (side != "left" && side != "right" && side != "Left" && side != "Right")
        return invalid(name, quoted(name) + R"( must be "left" or "right".)");
      break;
    }
  }
  return std::nullopt;
}

std::optional<Error> take_param(std::span<const Field> fields, std::string_view codec_name,
                                std::string_view name, JsonView value, CallKey& key) {
  const auto field = std::ranges::find(fields, name, &Field::name);
  if (field == fields.end()) {
    key.codec = codec_name;
  } else {
    if (value.is(JsonType::kNull)) return std::nullopt;
    if (auto error = check(*field, value)) return error;
  }
  key.params.emplace_back(name, value.raw());
  return std::nullopt;
}

std::optional<Error> take_query(JsonView value, CallKey& key) {
  if (!value.is(JsonType::kString)) return wrong_type("query", "query", "a string", value);
  key.params.emplace_back("query", value.raw());
  return std::nullopt;
}

std::optional<Error> read_flag(std::string_view name, JsonView value, bool& flag) {
  if (value.is(JsonType::kNull)) return std::nullopt;
  if (!value.is(JsonType::kBool)) return wrong_type(name, std::string(name), "a boolean", value);
  flag = value.boolean();
  return std::nullopt;
}

void sort_params(CallKey& key) { std::ranges::sort(key.params); }

Result<Done> say_params(const CallKey& key, const Codec& codec, std::span<const Field> fields,
                        std::span<const Implied> implied, std::string_view skipped,
                        std::string& out) {
  const bool own = key.codec == codec.name();
  if (!own && !key.codec.empty()) {
    return invalid(key.params.empty() ? "" : key.params.front().first,
                   "A request of " + key.codec + " with fields of its own cannot be said as " +
                       std::string(codec.name()) + ".");
  }
  for (const auto& [name, raw] : key.params) {
    if (name == skipped) continue;
    const bool known = own || std::ranges::find(fields, name, &Field::name) != fields.end();
    if (known) {
      out += ',';
      append_json_string(out, name);
      out.append(":").append(raw);
      continue;
    }
    const bool meant = std::ranges::any_of(
        implied, [&](const Implied& one) { return one.name == name && one.raw == raw; });
    if (!meant)
      return invalid(name, quoted(name) + ": " + raw.substr(0, 100) +
                               " cannot be asked of what serves this model (" +
                               std::string(codec.name()) + ").");
  }
  return Done{};
}

std::string target_of(const CallKey& key, std::span<const std::string_view> paths) {
  const std::string_view path = std::string_view(key.target).substr(0, key.target.find('?'));
  if (std::ranges::find(paths, path) != paths.end()) return key.target;
  return std::string(paths.front());
}

void BodyWriter::append(const Slice& slice) {
  if (slice.size() <= kCopiedBytesMax) {
    text_ += slice.view();
    return;
  }
  flush();
  body_.parts.push_back(slice);
}

Body BodyWriter::take() {
  flush();
  return std::move(body_);
}

void BodyWriter::flush() {
  if (text_.empty()) return;
  body_.parts.push_back(Slice::copy_of(text_));
  text_.clear();
}

void append_rows(BodyWriter& out, std::span<const CallRow> rows) {
  for (size_t i = 0; i < rows.size(); ++i) {
    out.append(i == 0 ? "[" : ",");
    out.append(rows[i].wire);
  }
  out.append("]");
}

void append_usage(std::string& out, uint64_t tokens) {
  const auto n = static_cast<int64_t>(tokens);
  out += R"("usage":{"prompt_tokens":)";
  append_json_number(out, n);
  out += R"(,"total_tokens":)";
  append_json_number(out, n);
  out += '}';
}

}  // namespace sluice::codec
