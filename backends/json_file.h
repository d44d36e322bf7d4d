// SPDX-License-Identifier: Apache-2.0
#pragma once
// One of the small JSON files of a model folder, with the questions asked of them and the errors
// that name file and field.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/chunk.h"
#include "base/json.h"
#include "base/result.h"

namespace sluice {

// A file, read and valid JSON. Views into it live as long as it, or what it was moved to.
class JsonFile {
 public:
  // Nothing if there is no such file; kInvalid, naming it, if it is too large, cannot be read or is
  // not JSON.
  static Result<std::optional<JsonFile>> read(std::string path);
  // The same, but a file that is not there is kNotFound.
  static Result<JsonFile> read_required(const std::string& path);

  const std::string& path() const { return path_; }
  JsonView root() const { return *root_; }
  // kInvalid: "<path>: '<field>' <what>".
  Error error(std::string_view field, const std::string& what) const;
  // The member of the root; nothing if there is none, or the root is no object.
  std::optional<JsonView> member(std::string_view field) const;
  // The string there; nothing if it is something else.
  std::optional<std::string> text(std::string_view field) const;
  bool is_true(std::string_view field) const;
  // The integer there; nothing if it is something else.
  std::optional<int64_t> integer(std::string_view field) const;
  // An integer in [1, max], or the error that says so.
  Result<uint32_t> count(std::string_view field, int64_t max) const;

 private:
  JsonFile() = default;
  std::string path_;
  Slice text_;
  std::optional<JsonView> root_;
};

}  // namespace sluice
