// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu_ptx_images.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "base/assert.h"

namespace sluice {

std::vector<GpuImage> ptx_images(int capability) {
  static std::map<int, std::map<std::string, std::string>> texts;
  // tests/mutants/kernels.py runs the tests where there are others.
  const bool mutants = std::filesystem::is_directory("kernels_with_bugs");
  const std::string folder = mutants ? "kernels_with_bugs" : SLUICE_GPU_PTX_FOLDER;
  std::vector<GpuImage> images;
  for (const char* name : {"row", "gemm", "norm", "attention", "output"}) {
    std::string& text = texts[capability][name];
    if (text.empty()) {
      std::ostringstream bytes;
      bytes << std::ifstream(folder + "/" + name + "_kernels.sm_" + std::to_string(capability) +
                             ".ptx")
                   .rdbuf();
      text = bytes.str();
      ASSERT(!text.empty());
    }
    images.push_back({name, text.c_str()});
  }
  return images;
}

}  // namespace sluice
