// SPDX-License-Identifier: Apache-2.0
#pragma once
// The .safetensors format: eight bytes with the length of a JSON header, the header (name, type,
// shape and byte range of each tensor), then the tensors back to back. The file is mapped, not
// read, so a tensor costs memory only when it is touched. Everything the header says is checked
// before any of it is used: a file that is cut off or lies about itself is an error that names the
// tensor and the file, never a read outside the mapping.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice {

// The element types the format knows.
enum class TensorType {
  kBool,
  kU8,
  kI8,
  kI16,
  kU16,
  kF16,
  kBf16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64
};

// Bytes of one element of `type`.
size_t tensor_type_bytes(TensorType type);
// The format's name of `type`, e.g. "BF16".
std::string_view tensor_type_name(TensorType type);

// One tensor: row-major elements in `bytes`, which need not be aligned. The bytes belong to the
// mapping the table was parsed from.
struct TensorView {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<uint64_t> shape;  // outermost dimension first; empty for a scalar
  std::span<const std::byte> bytes;

  // Number of elements, the product of `shape`.
  size_t count() const { return bytes.size() / tensor_type_bytes(type); }
};

// True if the elements can be converted to float32 by tensor_to_floats().
bool tensor_is_float(const TensorView& tensor);
// Writes elements [first, first + out.size()) as float32; F16 and BF16 convert exactly.
// REQUIRES: tensor_is_float(tensor) and the range lies inside the tensor.
void tensor_to_floats(const TensorView& tensor, size_t first, std::span<float> out);
// The shape as people write it, e.g. "[30522, 384]".
std::string shape_text(std::span<const uint64_t> shape);

// Reads and checks the header of a whole file held in `file` and returns its tensors, sorted by
// name. `file_name` is for error messages. kInvalid if anything is wrong: a header that is not
// what the format allows, an unknown type, a byte range that does not fit type and shape, lies
// outside the file, overlaps its neighbour or leaves a gap, or bytes no tensor claims. The views
// point into `file`.
Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> file,
                                                  std::string_view file_name);

// A mapped file and its tensors. Immutable after open(); any thread may read it. The file must not
// be truncated while it is mapped: the system then ends the process on the next access.
class SafetensorsFile {
 public:
  // No file, and so no tensors.
  SafetensorsFile() = default;
  // Maps the file at `path` and parses it. kNotFound if it cannot be opened, kInvalid as
  // parse_safetensors().
  static Result<SafetensorsFile> open(const std::string& path);

  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&& other) noexcept;
  ~SafetensorsFile();

  // The tensor called `name`, or null.
  const TensorView* find(std::string_view name) const;
  // All tensors, sorted by name.
  std::span<const TensorView> tensors() const { return tensors_; }
  const std::string& path() const { return path_; }
  // Tells the system that the pages read so far are not needed now; they come back from the file
  // when touched again.
  void release_pages() const;

 private:
  std::string path_;
  std::span<const std::byte> mapping_;
  std::vector<TensorView> tensors_;
};

}  // namespace sluice
