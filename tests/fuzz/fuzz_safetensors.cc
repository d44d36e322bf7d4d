// SPDX-License-Identifier: Apache-2.0
// Any bytes as a .safetensors file: refused with a message, or every tensor lies inside the file
// and can be read to its last element.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/safetensors.h"
#include "base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file = std::as_bytes(std::span(data, size));
  const auto tensors = sluice::parse_safetensors(file, "input");
  if (!tensors.ok()) {
    ASSERT(tensors.error().message.starts_with("input: "));
    return 0;
  }
  size_t bytes = 0;
  for (const sluice::TensorView& tensor : tensors.value()) {
    bytes += tensor.bytes.size();
    if (!sluice::tensor_is_float(tensor)) continue;
    std::vector<float> values(tensor.count());
    sluice::tensor_to_floats(tensor, 0, values);
  }
  ASSERT(bytes + 8 <= size);
  return 0;
}
