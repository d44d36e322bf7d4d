// SPDX-License-Identifier: Apache-2.0
#pragma once
// The GPU's kernels as PTX text, which is what the interpreter reads.

#include <vector>

#include "gpu/device.h"

namespace sluice {

// The kernels of gpu/ as nvcc compiled them for `capability` (75, 80 or 90) when the tests were
// built, for GpuDevice::open(). The texts stay. Those that only sm_90a has are not among them.
std::vector<GpuImage> ptx_images(int capability);

}  // namespace sluice
