// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file of a tokenizer, whose many fields are read one after the other without asking each time
// whether the last one was good.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/chunk.h"
#include "base/error.h"
#include "base/json.h"

namespace sluice {

// One file, read field by field. The first thing that is wrong is kept; what is read after it does
// not matter, since error() is the first.
class FileReader {
 public:
  explicit FileReader(std::string path) : path_(std::move(path)) {}

  // The bytes of the file, or nothing if it is not there.
  std::optional<Slice> open();
  // The bytes as JSON, which must be an object. An empty object after an error.
  JsonView parse(const Slice& bytes);

  // Keeps "<path>: <what>", if it is the first.
  void fail(std::string what) {
    if (!error_) error_ = Error{Code::kInvalid, path_ + ": " + std::move(what)};
  }
  // The member, or nothing if it is absent, null or not of `type` (which is an error).
  std::optional<JsonView> optional(JsonView object, std::string_view key, JsonType type);
  // The same, but absent or null is an error too.
  std::optional<JsonView> required(JsonView object, std::string_view key, JsonType type);
  bool flag(JsonView object, std::string_view key, bool otherwise);
  std::string text(JsonView object, std::string_view key);
  // REQUIRES: `field` names `value` for an error.
  int32_t id(JsonView value, std::string_view field);
  // Fails unless the member "type" of `object`, itself called `name`, is `expected`.
  void expect_type(JsonView object, std::string_view name, std::string_view expected);

  const std::optional<Error>& error() const { return error_; }

 private:
  std::string path_;
  std::optional<Error> error_;
};

}  // namespace sluice
