// SPDX-License-Identifier: Apache-2.0
#include "backends/file_reader.h"

#include <fstream>

#include "base/result.h"

namespace sluice {
namespace {

// Far beyond any vocabulary; a larger id is a broken file.
constexpr int64_t kIdMax = 100'000'000;
constexpr std::streamoff kFileBytesMax = 256 << 20;

}  // namespace

std::optional<Slice> FileReader::open() {
  std::ifstream file(path_, std::ios::binary | std::ios::ate);
  if (!file) return std::nullopt;
  const std::streamoff size = file.tellg();
  if (size < 0 || size > kFileBytesMax) {
    fail("not a file of at most 256 MiB");
    return Slice();
  }
  file.seekg(0);
  Slice bytes(ChunkRef::make(static_cast<size_t>(size), [&](char* to) { file.read(to, size); }));
  if (!file) fail("cannot be read");
  return bytes;
}

JsonView FileReader::parse(const Slice& bytes) {
  if (!error_) {
    Result<JsonView> root = parse_json(bytes);
    if (!root.ok()) {
      fail(root.error().message);
    } else if (!root.value().is(JsonType::kObject)) {
      fail("is not a JSON object");
    } else {
      return root.value();
    }
  }
  return JsonView("{}");
}

std::optional<JsonView> FileReader::optional(JsonView object, std::string_view key, JsonType type) {
  const std::optional<JsonView> value = object.member(key);
  if (!value || value->is(JsonType::kNull)) return std::nullopt;
  if (value->is(type)) return value;
  fail("the field \"" + std::string(key) + "\" is of the wrong type");
  return std::nullopt;
}

std::optional<JsonView> FileReader::required(JsonView object, std::string_view key, JsonType type) {
  const std::optional<JsonView> value = optional(object, key, type);
  if (!value) fail("the field \"" + std::string(key) + "\" is missing");
  return value;
}

bool FileReader::flag(JsonView object, std::string_view key, bool otherwise) {
  const std::optional<JsonView> value = optional(object, key, JsonType::kBool);
  return value ? value->boolean() : otherwise;
}

std::string FileReader::text(JsonView object, std::string_view key) {
  const std::optional<JsonView> value = required(object, key, JsonType::kString);
  return value ? value->text() : std::string();
}

int32_t FileReader::id(JsonView value, std::string_view field) {
  const std::optional<int64_t> id =
      value.is(JsonType::kNumber) ? value.integer() : std::optional<int64_t>();
  if (id && *id >= 0 && *id <= kIdMax) return static_cast<int32_t>(*id);
  fail("the id " + std::string(field) + " is not an integer between 0 and 100000000");
  return 0;
}

void FileReader::expect_type(JsonView object, std::string_view name, std::string_view expected) {
  const std::string type = text(object, "type");
  if (type == expected) return;
  fail(std::string(name) + ".type is \"" + type + "\", but only \"" + std::string(expected) +
       "\" is supported");
}

}  // namespace sluice
