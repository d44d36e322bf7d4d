// SPDX-License-Identifier: Apache-2.0
#include "backends/oip_text.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "backends/utf8.h"

namespace sluice::oip {
namespace {

using codec::invalid;

Error no_json(std::string_view place, std::string_view what) {
  return invalid(place, "'" + std::string(place) + "' has " + std::string(what) +
                            ", which cannot be told to an endpoint that takes tensors as JSON "
                            "only.");
}

// An IEEE half as a float, exactly.
float from_half(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  const float sign = half >> 15 == 0 ? 1.0F : -1.0F;
  if (exponent == 31) return fraction == 0 ? sign * HUGE_VALF : NAN;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

// Whether `text` is UTF-8 throughout.
bool is_utf8(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const char* const begin = at;
    const bool replaced = decode_utf8(at, end) == kReplacementCharacter;
    if (replaced && std::string_view(begin, static_cast<size_t>(at - begin)) != "\xEF\xBF\xBD")
      return false;
  }
  return true;
}

// Appends one number; false if it is not finite.
template <typename Number>
bool append_one(std::string& out, Number number) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(number)) return false;
  }
  char text[40];  // the longest double is of 24 characters
  const auto [end, failure] = std::to_chars(text, text + sizeof(text), number);
  ASSERT(failure == std::errc());
  out.append(text, end);
  return true;
}

// Appends all elements of one type as `print` makes numbers of them; false if one is not finite.
template <typename Stored, typename Print>
bool append_all(std::string& out, std::string_view row, Print print) {
  for (size_t at = 0; at < row.size(); at += sizeof(Stored)) {
    Stored stored;
    std::memcpy(&stored, row.data() + at, sizeof(stored));
    if (at > 0) out += ',';
    if (!append_one(out, print(stored))) return false;
  }
  return true;
}

template <typename Number>
bool append_numbers(std::string& out, std::string_view row) {
  return append_all<Number>(out, row, [](Number number) { return number; });
}

void append_booleans(std::string& out, std::string_view row) {
  for (const char& byte : row) {
    if (&byte != row.data()) out += ',';
    out += byte == 0 ? "false" : "true";
  }
}

Result<Done> append_texts(std::string& out, std::string_view row, std::string_view place) {
  bool first = true;
  while (!row.empty()) {
    uint32_t length = 0;
    if (row.size() < sizeof(length)) return no_json(place, "an element that is cut off");
    std::memcpy(&length, row.data(), sizeof(length));
    row.remove_prefix(sizeof(length));
    if (row.size() < length) return no_json(place, "an element that is cut off");
    const std::string_view text = row.substr(0, length);
    if (!is_utf8(text)) return no_json(place, "BYTES that are not UTF-8");
    if (!first) out += ',';
    first = false;
    append_json_string(out, text);
    row.remove_prefix(length);
  }
  return Done{};
}

// Appends elements of a type that is numbers; false if one is not finite.
bool append_typed(std::string& out, Datatype datatype, std::string_view row) {
  switch (datatype) {
    case Datatype::kUint8:
      return append_numbers<uint8_t>(out, row);
    case Datatype::kUint16:
      return append_numbers<uint16_t>(out, row);
    case Datatype::kUint32:
      return append_numbers<uint32_t>(out, row);
    case Datatype::kUint64:
      return append_numbers<uint64_t>(out, row);
    case Datatype::kInt8:
      return append_numbers<int8_t>(out, row);
    case Datatype::kInt16:
      return append_numbers<int16_t>(out, row);
    case Datatype::kInt32:
      return append_numbers<int32_t>(out, row);
    case Datatype::kInt64:
      return append_numbers<int64_t>(out, row);
    case Datatype::kFp16:
      return append_all<uint16_t>(out, row, from_half);
    case Datatype::kFp32:
      return append_numbers<float>(out, row);
    case Datatype::kFp64:
      return append_numbers<double>(out, row);
    case Datatype::kBool:
    case Datatype::kBf16:
    case Datatype::kBytes:
      break;
  }
  ASSERT(false);
}

// Appends "data" and its array.
Result<Done> append_data(codec::BodyWriter& out, JsonView description, std::span<const Slice> rows,
                         std::string_view place) {
  const std::optional<Datatype> datatype = find_datatype(description.member("datatype")->text());
  ASSERT(datatype.has_value());
  std::string text = R"("data":[)";
  const size_t begin = text.size();
  for (const Slice& row : rows) {
    if (row.empty()) continue;  // a row without elements
    if (text.size() > begin) text += ',';
    Result<Done> done = append_elements(text, *datatype, row.view(), place);
    if (!done.ok()) return done;
  }
  out.append(text + "]");
  return Done{};
}

}  // namespace

Result<Done> append_elements(std::string& out, Datatype datatype, std::string_view row,
                             std::string_view place) {
  if (datatype == Datatype::kBytes) return append_texts(out, row, place);
  if (datatype == Datatype::kBf16) return no_json(place, "the datatype BF16");
  if (row.size() % element_bytes(datatype) != 0) return no_json(place, "an element cut off");
  if (datatype == Datatype::kBool) {
    append_booleans(out, row);
  } else if (!append_typed(out, datatype, row)) {
    return no_json(place, "a number that is not finite");
  }
  return Done{};
}

std::optional<Error> turn_into_json(Tensor& tensor) {
  if (tensor.form != Form::kBinary) return std::nullopt;
  std::string text = "[";
  const Result<Done> done =
      append_elements(text, tensor.datatype, tensor.data.view(), tensor.place);
  if (!done.ok()) return done.error();
  tensor.data = Slice::copy_of(text + "]");
  tensor.form = Form::kFlat;
  return std::nullopt;
}

Result<Done> write_as_json(codec::BodyWriter& out, JsonView description,
                           std::span<const Slice> rows, std::string_view place) {
  out.append("{");
  description.for_each_member([&](std::string_view key, JsonView value) {
    std::string written(value.raw());
    if (key == "shape") {
      written = "[" + std::to_string(rows.size());
      value.for_each_item([&](JsonView extent) {
        written.append(",").append(extent.raw());
        return true;
      });
      written += ']';
    } else if (key == "parameters") {
      written = without_binary_size(value);
      if (written == "{}") return true;
    }
    append_json_string(out.text(), key);
    out.append(":");
    out.append(written + ",");
    return true;
  });
  Result<Done> done = append_data(out, description, rows, place);
  if (!done.ok()) return done;
  out.append("}");
  return Done{};
}

}  // namespace sluice::oip
