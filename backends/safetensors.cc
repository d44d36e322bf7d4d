// SPDX-License-Identifier: Apache-2.0
#include "backends/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/chunk.h"
#include "base/json.h"

namespace sluice {
namespace {

constexpr size_t kLengthBytes = 8;
// The limit of the reference implementation; a header of a large model has tens of kilobytes.
constexpr uint64_t kHeaderBytesMax = 100'000'000;
constexpr size_t kDimensionsMax = 16;

struct TypeEntry {
  std::string_view name;
  TensorType type;
  size_t bytes;
};
constexpr TypeEntry kTypes[] = {
    {"BOOL", TensorType::kBool, 1}, {"U8", TensorType::kU8, 1},   {"I8", TensorType::kI8, 1},
    {"I16", TensorType::kI16, 2},   {"U16", TensorType::kU16, 2}, {"F16", TensorType::kF16, 2},
    {"BF16", TensorType::kBf16, 2}, {"I32", TensorType::kI32, 4}, {"U32", TensorType::kU32, 4},
    {"F32", TensorType::kF32, 4},   {"F64", TensorType::kF64, 8}, {"I64", TensorType::kI64, 8},
    {"U64", TensorType::kU64, 8},
};

const TypeEntry& entry_of(TensorType type) {
  for (const TypeEntry& entry : kTypes) {
    if (entry.type == type) return entry;
  }
  ASSERT(false);
  return kTypes[0];
}

Error invalid(std::string_view file_name, const std::string& what) {
  return Error{Code::kInvalid, std::string(file_name) + ": " + what};
}
Error invalid(std::string_view file_name, std::string_view tensor, const std::string& what) {
  return invalid(file_name, "tensor '" + std::string(tensor) + "' " + what);
}

float from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction · 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

uint64_t little_endian64(const std::byte* bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) value |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// A list of non-negative integers, or nothing.
std::optional<std::vector<uint64_t>> unsigned_list(std::optional<JsonView> value, size_t size_max) {
  if (!value || !value->is(JsonType::kArray)) return std::nullopt;
  std::vector<uint64_t> list;
  bool good = true;
  value->for_each_item([&](JsonView item) {
    int64_t number = -1;
    if (item.is(JsonType::kNumber)) number = item.integer().value_or(-1);
    good = number >= 0 && list.size() < size_max;
    if (good) list.push_back(static_cast<uint64_t>(number));
    return good;
  });
  if (!good) return std::nullopt;
  return list;
}

// The number of bytes `shape` needs, or nothing on overflow.
std::optional<uint64_t> bytes_needed(const std::vector<uint64_t>& shape, size_t element_bytes) {
  uint64_t bytes = element_bytes;
  for (uint64_t dimension : shape) {
    if (__builtin_mul_overflow(bytes, dimension, &bytes)) return std::nullopt;
  }
  return bytes;
}

Result<TensorView> parse_tensor(std::string_view name, JsonView value,
                                std::span<const std::byte> data, std::string_view file_name) {
  if (!value.is(JsonType::kObject)) return invalid(file_name, name, "is not an object");
  TensorView tensor;
  tensor.name = name;
  const auto type = value.member("dtype");
  if (!type || !type->is(JsonType::kString)) return invalid(file_name, name, "has no dtype");
  const std::string type_name = type->text();
  const auto* entry = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const TypeEntry& e) { return e.name == type_name; });
  if (entry == std::end(kTypes)) {
    return invalid(file_name, name, "has the unknown dtype '" + type_name + "'");
  }
  tensor.type = entry->type;
  auto shape = unsigned_list(value.member("shape"), kDimensionsMax);
  if (!shape) return invalid(file_name, name, "has no valid shape");
  tensor.shape = std::move(*shape);
  const auto range = unsigned_list(value.member("data_offsets"), 2);
  if (!range || range->size() != 2 || (*range)[0] > (*range)[1]) {
    return invalid(file_name, name, "has no valid data_offsets");
  }
  const uint64_t begin = (*range)[0];
  const uint64_t end = (*range)[1];
  if (end > data.size()) {
    return invalid(file_name, name,
                   "ends at byte " + std::to_string(end) + " of the data, but the file has only " +
                       std::to_string(data.size()) + " (is it cut off?)");
  }
  const auto needed = bytes_needed(tensor.shape, entry->bytes);
  if (!needed || *needed != end - begin) {
    return invalid(file_name, name,
                   "has " + std::to_string(end - begin) + " bytes, which does not fit " +
                       type_name + " " + shape_text(tensor.shape));
  }
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// The tensors must cover the data exactly: no byte in two tensors, none in no tensor. `tensors`
// is left in the order of the data.
Result<Done> check_cover(std::vector<TensorView>& tensors, std::span<const std::byte> data,
                         std::string_view file_name) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
    return a.bytes.data() != b.bytes.data() ? a.bytes.data() < b.bytes.data()
                                            : a.bytes.size() < b.bytes.size();
  });
  const std::byte* next = data.data();
  for (const TensorView& tensor : tensors) {
    if (tensor.bytes.data() < next) {
      return invalid(file_name, tensor.name, "overlaps another tensor");
    }
    if (tensor.bytes.data() > next) {
      return invalid(file_name, tensor.name, "begins after bytes that belong to no tensor");
    }
    next = tensor.bytes.data() + tensor.bytes.size();
  }
  const auto left = static_cast<size_t>(data.data() + data.size() - next);
  if (left != 0) {
    return invalid(file_name, "the last " + std::to_string(left) + " bytes belong to no tensor");
  }
  return Done{};
}

}  // namespace

size_t tensor_type_bytes(TensorType type) { return entry_of(type).bytes; }
std::string_view tensor_type_name(TensorType type) { return entry_of(type).name; }

std::string shape_text(std::span<const uint64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

bool tensor_is_float(const TensorView& tensor) {
  return tensor.type == TensorType::kF32 || tensor.type == TensorType::kF16 ||
         tensor.type == TensorType::kBf16;
}

void tensor_to_floats(const TensorView& tensor, size_t first, std::span<float> out) {
  ASSERT(tensor_is_float(tensor));
  ASSERT(first <= tensor.count() && out.size() <= tensor.count() - first);
  if (out.empty()) return;
  const std::byte* from = tensor.bytes.data() + first * tensor_type_bytes(tensor.type);
  if (tensor.type == TensorType::kF32) {
    std::memcpy(out.data(), from, out.size_bytes());
    return;
  }
  const bool half = tensor.type == TensorType::kF16;
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, from + 2 * i, sizeof bits);
    out[i] = half ? from_half(bits) : std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
}

Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> file,
                                                  std::string_view file_name) {
  if (file.size() < kLengthBytes) {
    return invalid(file_name,
                   "too short for a safetensors file (" + std::to_string(file.size()) + " bytes)");
  }
  const uint64_t header_bytes = little_endian64(file.data());
  if (header_bytes > kHeaderBytesMax || header_bytes > file.size() - kLengthBytes) {
    return invalid(file_name, "the header claims " + std::to_string(header_bytes) +
                                  " bytes, more than the file has or the format allows");
  }
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + kLengthBytes,
                                header_bytes);
  const std::span<const std::byte> data = file.subspan(kLengthBytes + header_bytes);
  const Slice text = Slice::copy_of(header);
  const Result<JsonView> root = parse_json(text);
  if (!root.ok()) return invalid(file_name, "the header is not JSON: " + root.error().message);
  if (!root.value().is(JsonType::kObject)) return invalid(file_name, "the header is not an object");

  std::vector<TensorView> tensors;
  std::optional<Error> failure;
  root.value().for_each_member([&](std::string_view name, JsonView value) {
    if (name == "__metadata__") return true;
    Result<TensorView> tensor = parse_tensor(name, value, data, file_name);
    if (!tensor.ok()) {
      failure = tensor.error();
      return false;
    }
    tensors.push_back(std::move(tensor).value());
    return true;
  });
  if (failure) return *failure;
  const Result<Done> covered = check_cover(tensors, data, file_name);
  if (!covered.ok()) return covered.error();
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorView& a, const TensorView& b) { return a.name < b.name; });
  return tensors;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error{Code::kNotFound, path + ": " + std::strerror(errno)};
  struct stat status = {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    return Error{Code::kInvalid, path + ": not a regular file"};
  }
  SafetensorsFile file;
  file.path_ = path;
  const auto size = static_cast<size_t>(status.st_size);
  if (size > 0) {
    void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED) {
      const int reason = errno;
      ::close(fd);
      return Error{Code::kInvalid, path + ": cannot be mapped: " + std::strerror(reason)};
    }
    file.mapping_ = {static_cast<const std::byte*>(memory), size};
  }
  ::close(fd);
  Result<std::vector<TensorView>> tensors = parse_safetensors(file.mapping_, path);
  if (!tensors.ok()) return tensors.error();
  file.tensors_ = std::move(tensors).value();
  return file;
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&& other) noexcept
    : path_(std::move(other.path_)),
      mapping_(std::exchange(other.mapping_, {})),
      tensors_(std::move(other.tensors_)) {}

SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(mapping_, other.mapping_);
  std::swap(tensors_, other.tensors_);
  return *this;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapping_.empty()) return;
  ::munmap(const_cast<std::byte*>(mapping_.data()), mapping_.size());
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const TensorView& tensor, std::string_view wanted) { return tensor.name < wanted; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

void SafetensorsFile::release_pages() const {
  if (mapping_.empty()) return;
  ::madvise(const_cast<std::byte*>(mapping_.data()), mapping_.size(), MADV_DONTNEED);
}

}  // namespace sluice
