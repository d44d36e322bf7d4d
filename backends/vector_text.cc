// SPDX-License-Identifier: Apache-2.0
#include "backends/vector_text.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/base64.h"
#include "base/json_scan.h"

namespace sluice::codec {
namespace {

static_assert(std::endian::native == std::endian::little, "vectors go out as they lie in memory");

std::string_view bytes_of(std::span<const float> vector) {
  return {reinterpret_cast<const char*>(vector.data()), vector.size_bytes()};
}

// The vector's leading `dimensions` numbers, scaled to length 1.
std::vector<float> cut(std::span<const float> vector, uint32_t dimensions) {
  std::vector<float> result(
      vector.begin(),
      vector.begin() + static_cast<ptrdiff_t>(std::min<size_t>(dimensions, vector.size())));
  double squares = 0;
  for (const float x : result) squares += static_cast<double>(x) * x;
  if (squares > 0) {
    const double scale = 1 / std::sqrt(squares);
    for (float& x : result) x = static_cast<float>(x * scale);
  }
  return result;
}

void append_plain(std::string& out, std::span<const float> vector, bool base64) {
  if (base64) {
    out += '"';
    append_base64(out, bytes_of(vector));
    out += '"';
    return;
  }
  out += '[';
  for (size_t i = 0; i < vector.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, vector[i]);
  }
  out += ']';
}

// Whether a valid JSON array has only numbers in it: then these characters are all there is. No way
// out of the loop, so that the compiler takes many characters at a time.
bool is_flat(std::string_view array) {
  uint8_t others = 0;
  for (const char c : array.substr(1)) {
    const auto byte = static_cast<uint8_t>(c);
    const bool number = (byte <= '9') & (byte != '"');
    others |= static_cast<uint8_t>(!(number | ((byte | 0x20) == 'e') | (byte == ']')));
  }
  return others == 0;
}

// The float32 nearest to a number of JSON.
float nearest(std::string_view number) {
  float value = 0;
  const auto parsed = std::from_chars(number.data(), number.data() + number.size(), value);
  if (parsed.ec == std::errc::result_out_of_range)
    value = static_cast<float>(json::to_double(number));
  return value;
}

std::vector<float> floats_of(std::string_view array) {
  std::vector<float> floats;
  JsonView(array).for_each_item([&](JsonView item) {
    floats.push_back(nearest(item.raw()));
    return true;
  });
  return floats;
}

// The numbers of a base64 string with its quotes; nothing if it is none.
std::optional<std::vector<float>> floats_of_base64(std::string_view raw) {
  const std::string_view text = raw.substr(1, raw.size() - 2);
  const std::optional<size_t> size = base64_size(text);
  if (!size || *size % sizeof(float) != 0) return std::nullopt;
  std::string bytes;
  append_from_base64(bytes, text);
  std::vector<float> floats(*size / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  return floats;
}

bool is_base64_vector(std::string_view text) {
  const std::optional<size_t> size = base64_size(text);
  return size && *size > 0 && *size % sizeof(float) == 0;
}

const char* const kNoVector = "not an array of numbers or a base64 string of float32";

}  // namespace

void append_vector(std::string& out, std::span<const float> vector, const VectorForm& form) {
  if (form.dimensions) {
    append_plain(out, cut(vector, *form.dimensions), form.base64);
  } else {
    append_plain(out, vector, form.base64);
  }
}

Result<Done> write_vector(BodyWriter& out, const Output& output, const VectorForm& form) {
  const std::string_view raw = output.bytes.view();
  if (output.form == Form::kFloats && raw.size() % sizeof(float) == 0) {
    append_vector(out.text(), output.bytes.as<float>(), form);
    return Done{};
  }
  if (output.form == Form::kJson && raw.starts_with('[') && is_flat(raw)) {
    if (form.base64) {
      append_plain(out.text(), floats_of(raw), true);
    } else {
      out.append(output.bytes);
    }
    return Done{};
  }
  if (output.form == Form::kJson && raw.starts_with('"')) {
    if (form.base64) {
      if (is_base64_vector(raw.substr(1, raw.size() - 2))) {
        out.append(output.bytes);
        return Done{};
      }
    } else if (const auto floats = floats_of_base64(raw)) {
      append_plain(out.text(), *floats, false);
      return Done{};
    }
  }
  return upstream("The upstream gave a vector that is " + std::string(kNoVector) + ".");
}

Slice read_vector(JsonCursor& at) {
  if (at.peek() == '[') return at.numbers();
  if (at.peek() != '"') {
    at.fail(kNoVector);
    return {};
  }
  // What is base64 up to the next quote is a string without anything special in it.
  if (const std::string_view ahead = at.up_to_quote(); is_base64_vector(ahead))
    return at.take_plain(ahead.size());
  const Slice whole = at.value();
  if (at.failed()) return {};
  const std::string_view text = whole.view().substr(1, whole.size() - 2);
  // Some writers escape the slash.
  const std::string plain = text.find('\\') == text.npos ? "" : json::unescape(text);
  if (is_base64_vector(plain)) return Slice::copy_of('"' + plain + '"');
  at.fail(kNoVector);
  return {};
}

}  // namespace sluice::codec
