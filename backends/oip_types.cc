// SPDX-License-Identifier: Apache-2.0
#include "backends/oip_types.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace sluice::oip {
namespace {

enum class Sort : uint8_t { kBool, kUnsigned, kSigned, kFloat, kBinaryOnly, kText };

struct Type {
  std::string_view name;
  size_t bytes;
  Sort sort;
};

// In the order of Datatype.
constexpr Type kTypes[] = {
    {"BOOL", 1, Sort::kBool},       {"UINT8", 1, Sort::kUnsigned},  {"UINT16", 2, Sort::kUnsigned},
    {"UINT32", 4, Sort::kUnsigned}, {"UINT64", 8, Sort::kUnsigned}, {"INT8", 1, Sort::kSigned},
    {"INT16", 2, Sort::kSigned},    {"INT32", 4, Sort::kSigned},    {"INT64", 8, Sort::kSigned},
    {"FP16", 2, Sort::kFloat},      {"BF16", 2, Sort::kBinaryOnly}, {"FP32", 4, Sort::kFloat},
    {"FP64", 8, Sort::kFloat},      {"BYTES", 0, Sort::kText},
};

const Type& type_of(Datatype datatype) { return kTypes[static_cast<size_t>(datatype)]; }

// Whether a number is an integer that fits; one written without fraction is compared exactly.
bool fits(const Type& type, JsonView value) {
  const std::string_view raw = value.raw();
  const int bits = static_cast<int>(type.bytes * 8);
  if (type.sort == Sort::kUnsigned) {
    uint64_t n = 0;
    const auto [end, failure] = std::from_chars(raw.data(), raw.data() + raw.size(), n);
    if (failure == std::errc() && end == raw.data() + raw.size())
      return bits == 64 || n >> bits == 0;
  } else if (const std::optional<int64_t> n = value.integer()) {
    return bits == 64 || (*n >= -(int64_t{1} << (bits - 1)) && *n < (int64_t{1} << (bits - 1)));
  }
  const double x = value.number();
  const double limit = std::ldexp(1.0, type.sort == Sort::kUnsigned ? bits : bits - 1);
  return std::trunc(x) == x && x < limit && x >= (type.sort == Sort::kUnsigned ? 0.0 : -limit);
}

}  // namespace

std::optional<Datatype> find_datatype(std::string_view name) {
  const auto found = std::ranges::find(kTypes, name, &Type::name);
  if (found == std::end(kTypes)) return std::nullopt;
  return static_cast<Datatype>(found - std::begin(kTypes));
}

size_t element_bytes(Datatype datatype) { return type_of(datatype).bytes; }

bool is_element(Datatype datatype, JsonView value) {
  const Type& type = type_of(datatype);
  const JsonType json = value.type();
  switch (type.sort) {
    case Sort::kBool:
      return json == JsonType::kBool ||
             (json == JsonType::kNumber && (value.raw() == "0" || value.raw() == "1"));
    case Sort::kUnsigned:
    case Sort::kSigned:
      return json == JsonType::kNumber && fits(type, value);
    case Sort::kFloat:
      return json == JsonType::kNumber || json == JsonType::kNull;
    case Sort::kBinaryOnly:
      return false;
    case Sort::kText:
      return json == JsonType::kString;
  }
  return false;
}

std::string_view element_wanted(Datatype datatype) {
  switch (type_of(datatype).sort) {
    case Sort::kBool:
      return "a boolean";
    case Sort::kUnsigned:
    case Sort::kSigned:
      return "an integer in its range";
    case Sort::kFloat:
      return "a number";
    case Sort::kBinaryOnly:
      return "sent as binary data";
    case Sort::kText:
      return "a string";
  }
  return "";
}

std::optional<uint64_t> product(std::span<const int64_t> extents) {
  // Without the zeros first: [2^40, 2^40, 0] is refused in whatever order it comes.
  uint64_t all = 1;
  for (const int64_t extent : extents) {
    const uint64_t n = extent == 0 ? 1 : static_cast<uint64_t>(extent);
    if (all > static_cast<uint64_t>(INT64_MAX) / n) return std::nullopt;
    all *= n;
  }
  return std::ranges::find(extents, 0) == extents.end() ? all : 0;
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, shape[i]);
  }
  return out + "]";
}

}  // namespace sluice::oip
