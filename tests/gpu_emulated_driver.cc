// SPDX-License-Identifier: Apache-2.0
// In place of gpu/cuda_api.cc and gpu/images.cc: a program that has this file runs its GPU engine
// on the interpreter. It is otherwise the same program.

#include "gpu/cuda_api.h"
#include "gpu/device.h"
#include "tests/gpu_emulated.h"
#include "tests/gpu_ptx_images.h"

namespace sluice {
namespace {

constexpr int kCapability = 80;

}  // namespace

Result<std::unique_ptr<CudaApi>> open_cuda_driver() {
  EmulatedMachine machine;
  machine.devices = 2;
  machine.capability = kCapability;
  machine.check_memory = false;
  machine.lost_device = 1;
  machine.launches_good = 4;  // the first is to warm up
  return std::unique_ptr<CudaApi>(std::make_unique<EmulatedCuda>(machine));
}

std::span<const GpuImage> built_in_images() {
  static const std::vector<GpuImage> images = ptx_images(kCapability);
  return images;
}

}  // namespace sluice
