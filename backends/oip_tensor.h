// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tensors of the Open Inference Protocol v2 in bodies: the inputs of a request and the outputs of
// an answer are spelled alike. They are read, cut along dimension 0, and written from such rows.
//
// A body is JSON, or JSON and then the binary tensors in the order in which the JSON lists them
// (the binary tensor extension); the header Inference-Header-Content-Length then says how long the
// JSON is.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/codec_common.h"
#include "backends/oip_types.h"
#include "base/chunk.h"
#include "base/json.h"
#include "base/result.h"

namespace sluice::oip {

inline constexpr std::string_view kHeader = "Inference-Header-Content-Length";

// How the elements of a tensor are given. Rows of different forms do not share a tensor.
enum class Form : uint8_t {
  kBinary,
  kFlat,    // one JSON array of all elements, row-major
  kNested,  // JSON arrays in arrays, as deep as the shape is long; of one dimension: kFlat
  kShared,  // not in the body but in memory that the server shares with its client (Triton)
};

// A tensor of a body.
struct Tensor {
  JsonView json;      // the object that declares it
  std::string place;  // for messages: "inputs[0]"
  std::string name;
  Datatype datatype = Datatype::kFp32;
  std::vector<int64_t> shape;  // none negative
  uint64_t elements = 0;       // in the whole of it
  Form form = Form::kBinary;
  Slice data;  // its binary data, or the JSON array
};

// Where the JSON of a body ends, by the value of its Inference-Header-Content-Length header, if it
// has that. kInvalid if that is no number or beyond the body.
Result<size_t> json_size(std::optional<std::string_view> header, size_t body_bytes);

// Reads the tensors that `list`, the value of `field` in the JSON of `body`, declares, and all but
// the elements in JSON; `json_bytes` is from json_size(). kInvalid, with the place in Error::param,
// for a missing or wrong field, a name that is there twice, sizes that do not fit the shape, and
// bytes that belong to no tensor.
Result<std::vector<Tensor>> read_tensors(const Slice& body, JsonView list, std::string_view field,
                                         size_t json_bytes);

// Checks the elements of a tensor, and cuts it along dimension 0 if `rows` is given: bytes of
// binary data, the text `1,2,3` of a flat array, or the item of a nested one. `strict`: what JSON
// elements are must fit the datatype. kInvalid as read_tensors(). REQUIRES: with `rows`, a rank of
// at least 1. Takes memory for shape[0] rows: see to it first that this is in bounds.
Result<Done> read_elements(const Tensor& tensor, bool strict, std::vector<Slice>* rows);

// Rows of some tensors, tensor by tensor.
using Columns = std::vector<std::vector<Slice>>;
// read_elements() of all tensors; without rows unless `cut`.
Result<Columns> read_columns(std::span<const Tensor> tensors, bool strict, bool cut);

// The tensor's object as JSON without what differs between requests that may share a call: "shape"
// is without dimension 0, "data" is "flat" or "nested" (none: binary), "binary_data_size" is 0.
// The other members stay as they came. A tensor whose binary data became JSON (oip_text.h) is as if
// it had come so.
std::string describe(const Tensor& tensor);

// The object `parameters` of a tensor without the size of its binary data.
std::string without_binary_size(JsonView parameters);

// The JSON array of describe() of each.
std::string describe_all(std::span<const Tensor> tensors);

// Writes the object that `description` was made of, with these rows in it, except binary data.
// Returns whether it has such; then the rows must follow behind the JSON.
bool write_tensor(codec::BodyWriter& out, JsonView description, std::span<const Slice> rows);

}  // namespace sluice::oip
