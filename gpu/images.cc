// SPDX-License-Identifier: Apache-2.0
// The kernels, as images.S takes them into the program.

#include <array>

#include "gpu/device.h"

// Named as the assembler's symbols are.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {
extern const char sluice_image_row[];
extern const char sluice_image_gemm[];
extern const char sluice_image_norm[];
extern const char sluice_image_wide[];
extern const char sluice_image_attention[];
extern const char sluice_image_output[];
}
// NOLINTEND(readability-identifier-naming)

namespace sluice {

std::span<const GpuImage> built_in_images() {
  static const std::array<GpuImage, 6> images = {{
      {"row", sluice_image_row},
      {"gemm", sluice_image_gemm},
      {"norm", sluice_image_norm},
      {"wide", sluice_image_wide, 90},
      {"attention", sluice_image_attention},
      {"output", sluice_image_output},
  }};
  return images;
}

}  // namespace sluice
