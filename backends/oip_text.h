// SPDX-License-Identifier: Apache-2.0
#pragma once
// Binary tensors of the Open Inference Protocol as JSON, for servers without the binary tensor
// extension, such as MLServer.

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backends/codec_common.h"
#include "backends/oip_tensor.h"
#include "backends/oip_types.h"
#include "base/chunk.h"
#include "base/json.h"
#include "base/result.h"

namespace sluice::oip {

// Appends the elements of `row`, which is binary data, as JSON: `1,2,3`. Floats are the shortest
// decimals that give the same number again. kInvalid, naming `place`, for what JSON has no form
// for: BF16, floats that are not finite, BYTES that are not UTF-8; and for bytes that are no whole
// elements.
Result<Done> append_elements(std::string& out, Datatype datatype, std::string_view row,
                             std::string_view place);

// Makes a binary tensor one whose elements are flat JSON; others stay as they are. An Error as of
// append_elements(), with the tensor's place.
std::optional<Error> turn_into_json(Tensor& tensor);

// As write_tensor() (oip_tensor.h) of a binary tensor, but with "data", which is flat, instead of
// the parameter "binary_data_size". kInvalid as append_elements().
// REQUIRES: `description` is what describe() made
Result<Done> write_as_json(codec::BodyWriter& out, JsonView description,
                           std::span<const Slice> rows, std::string_view place);

}  // namespace sluice::oip
