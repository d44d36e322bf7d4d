// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the codecs of JSON protocols have in common: fields of a request and how they are refused,
// parameters of a key and how they are said, bodies made of slices, envelopes, and shares of usage.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/dialect.h"
#include "base/json.h"
#include "base/result.h"

namespace sluice::codec {

// More items than this in one request are refused, where the protocol has no limit of its own: a
// row costs many times the memory of the shortest item.
inline constexpr size_t kItemsMax = 16'384;

// kInvalid, `param` being the field at fault.
Error invalid(std::string_view param, std::string message);
// kUpstream, with what is wrong with an answer.
Error upstream(std::string message);
// kInvalid: `place` (a field, perhaps with an index) is not what is wanted; `param` is its field.
Error wrong_type(std::string_view param, const std::string& place, std::string_view wanted,
                 JsonView got);
// The body as a JSON object, wholly validated.
Result<JsonView> parse_object(const Slice& body);
// The bytes of `value`, which is a part of `body`.
Slice part_of(const Slice& body, JsonView value);

// Calls `visit(name, value)`, which gives an Error or nothing, for each member of a body that is an
// object; the first error, if any.
template <typename Visit>
std::optional<Error> for_members(const Slice& body, Visit visit) {
  const Result<JsonView> root = parse_object(body);
  if (!root.ok()) return root.error();
  std::optional<Error> error;
  root.value().for_each_member([&](std::string_view name, JsonView value) {
    error = visit(name, value);
    return !error;
  });
  return error;
}

// What values a field may have.
enum class Kind { kBool, kString, kPositive, kSide };
// A parameter of an operation as a protocol has it; null is the same as leaving it out.
struct Field {
  std::string_view name;
  Kind kind = Kind::kBool;
};
// Why `value` is none that the field may have; nothing if it is one. REQUIRES: not null
std::optional<Error> check(const Field& field, JsonView value);
// Takes a member of a request as a parameter: one of `fields`, or one that only the codec itself
// can say, which is kept as it came.
std::optional<Error> take_param(std::span<const Field> fields, std::string_view codec_name,
                                std::string_view name, JsonView value, CallKey& key);
// Takes the query of a rerank request: a string.
std::optional<Error> take_query(JsonView value, CallKey& key);
// Reads a boolean; null leaves `flag` as it is.
std::optional<Error> read_flag(std::string_view name, JsonView value, bool& flag);
// Puts the parameters in the order that CallKey wants.
void sort_params(CallKey& key);

// A value of a parameter that a protocol cannot say, but means anyway.
struct Implied {
  std::string_view name;
  std::string_view raw;
};
// Appends the parameters of `key`, each as `,"name":raw`, as far as `fields` has them, or all if
// the key came from this codec. `skipped` is a parameter that is said elsewhere. kInvalid for one
// that can neither be said nor is implied.
Result<Done> say_params(const CallKey& key, const Codec& codec, std::span<const Field> fields,
                        std::span<const Implied> implied, std::string_view skipped,
                        std::string& out);
// The key's target if its path is one of `paths`, else the first of them.
std::string target_of(const CallKey& key, std::span<const std::string_view> paths);

// Makes a Body of text and slices. Short slices are copied: a part costs more than a few bytes do.
class BodyWriter {
 public:
  BodyWriter() { text_.reserve(kUsualBytes); }
  // Text to append to.
  std::string& text() { return text_; }
  void append(std::string_view text) { text_ += text; }
  void append(const Slice& slice);
  Body take();

 private:
  static constexpr size_t kUsualBytes = 512;

  void flush();

  Body body_;
  std::string text_;
};

// Appends the wire forms of `rows` as a JSON array.
void append_rows(BodyWriter& out, std::span<const CallRow> rows);

// Appends `"usage":{"prompt_tokens":n,"total_tokens":n}`.
void append_usage(std::string& out, uint64_t tokens);
}  // namespace sluice::codec
