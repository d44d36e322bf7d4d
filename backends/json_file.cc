// SPDX-License-Identifier: Apache-2.0
#include "backends/json_file.h"

#include <fstream>
#include <utility>

namespace sluice {
namespace {

// Configuration files have a few kilobytes; a larger one is not what its name says.
constexpr std::streamsize kFileBytesMax = 1 << 20;

}  // namespace

Result<std::optional<JsonFile>> JsonFile::read(std::string path) {
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  if (!stream) return std::optional<JsonFile>();
  const std::streamsize size = stream.tellg();
  if (size < 0 || size > kFileBytesMax) {
    return Error{Code::kInvalid, path + ": larger than a configuration file may be"};
  }
  stream.seekg(0);
  JsonFile file;
  file.path_ = std::move(path);
  file.text_ =
      Slice(ChunkRef::make(static_cast<size_t>(size), [&](char* to) { stream.read(to, size); }));
  if (!stream) return Error{Code::kInvalid, file.path_ + ": cannot be read"};
  const Result<JsonView> root = parse_json(file.text_);
  if (!root.ok()) return Error{Code::kInvalid, file.path_ + ": " + root.error().message};
  file.root_ = root.value();
  return std::optional<JsonFile>(std::move(file));
}

Result<JsonFile> JsonFile::read_required(const std::string& path) {
  Result<std::optional<JsonFile>> file = read(path);
  if (!file.ok()) return file.error();
  if (!file.value()) return Error{Code::kNotFound, path + ": not found"};
  return std::move(*file.value());
}

Error JsonFile::error(std::string_view field, const std::string& what) const {
  return Error{Code::kInvalid, path_ + ": '" + std::string(field) + "' " + what};
}

std::optional<JsonView> JsonFile::member(std::string_view field) const {
  return root_->is(JsonType::kObject) ? root_->member(field) : std::nullopt;
}

std::optional<std::string> JsonFile::text(std::string_view field) const {
  const auto value = member(field);
  if (!value || !value->is(JsonType::kString)) return std::nullopt;
  return value->text();
}

bool JsonFile::is_true(std::string_view field) const {
  const auto value = member(field);
  return value && value->is(JsonType::kBool) && value->boolean();
}

std::optional<int64_t> JsonFile::integer(std::string_view field) const {
  const auto value = member(field);
  if (!value || !value->is(JsonType::kNumber)) return std::nullopt;
  return value->integer();
}

Result<uint32_t> JsonFile::count(std::string_view field, int64_t max) const {
  const auto value = integer(field);
  if (!value || *value < 1 || *value > max) {
    return error(field, "must be a whole number from 1 to " + std::to_string(max));
  }
  return static_cast<uint32_t>(*value);
}

}  // namespace sluice
