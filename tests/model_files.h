// SPDX-License-Identifier: Apache-2.0
#pragma once
// Model folders for tests, written to a temporary folder that is gone afterwards.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

// A folder of its own, removed with all it holds at the end.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  // Writes a file, and the folders in between; `name` may hold slashes. Returns its path.
  std::string write(std::string_view name, std::string_view bytes) const;

 private:
  std::string path_;
};

// One tensor of a file to be written.
struct TensorData {
  std::string name;
  std::string type;  // the format's name, e.g. "F32"
  std::vector<uint64_t> shape;
  std::string bytes;
};

// The bytes of `values` as they lie in a file.
std::string float_bytes(const std::vector<float>& values);
// The same rounded to bfloat16, by cutting the low bits off.
std::string bf16_bytes(const std::vector<float>& values);
// A file with `header` as it is and `data` behind it.
std::string safetensors_file(std::string_view header, std::string_view data);
// A well-formed file with `tensors` in the given order.
std::string safetensors_file(const std::vector<TensorData>& tensors);

}  // namespace sluice
