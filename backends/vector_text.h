// SPDX-License-Identifier: Apache-2.0
#pragma once
// Vectors in the forms they travel in: float32 from an engine, an array of decimals, or a base64
// string of float32, little-endian. What is already in the form that is wanted is passed on byte
// for byte.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backends/codec_common.h"
#include "backends/json_cursor.h"
#include "base/chunk.h"
#include "base/result.h"
#include "batcher/row.h"

namespace sluice::codec {

// How a caller wants its vectors.
struct VectorForm {
  bool base64 = false;
  // Of an engine's vectors, this many leading numbers are kept and scaled to length one.
  std::optional<uint32_t> dimensions = {};
};

// Appends an engine's vector.
void append_vector(std::string& out, std::span<const float> vector, const VectorForm& form);
// Writes an output of kEmbed: decimals become the nearest float32, float32 the shortest decimals.
// kUpstream if it is no vector.
Result<Done> write_vector(BodyWriter& out, const Output& output, const VectorForm& form);
// Reads a vector that an upstream gave in either form; empty, and `at` has failed, if it is none.
Slice read_vector(JsonCursor& at);

}  // namespace sluice::codec
