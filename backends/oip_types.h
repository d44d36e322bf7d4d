// SPDX-License-Identifier: Apache-2.0
#pragma once
// Datatypes and shapes of the Open Inference Protocol v2.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice::oip {

// What an element is; names as the protocol has them, e.g. "FP32".
enum class Datatype : uint8_t {
  kBool,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kFp16,
  kBf16,  // has no form in JSON (Triton)
  kFp32,
  kFp64,
  kBytes,  // binary: a length as uint32, little-endian, then that many bytes; in JSON a string
};

// The datatype called `name`, e.g. "FP32"; nothing if there is none.
std::optional<Datatype> find_datatype(std::string_view name);
// Bytes of one element as binary; 0 for kBytes, whose elements differ.
size_t element_bytes(Datatype datatype);
// Whether `value` can be an element of that type in a request. Integers may be written with a
// fraction of zeros, booleans as 0 and 1, and null is a float that is no number: servers take
// these.
bool is_element(Datatype datatype, JsonView value);
// What an element in JSON must be, for messages: "an integer in its range".
std::string_view element_wanted(Datatype datatype);

// The product of all extents, 1 for none; nothing if it is beyond what int64 holds.
// REQUIRES: none is negative
std::optional<uint64_t> product(std::span<const int64_t> extents);
// "[2,3]".
std::string shape_text(std::span<const int64_t> shape);

}  // namespace sluice::oip
