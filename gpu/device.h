// SPDX-License-Identifier: Apache-2.0
#pragma once
// GpuDevice: one GPU, its context, and our kernels loaded on it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpu/cuda_api.h"

namespace sluice {

// Compiled kernels in memory: a fatbin, a cubin, or PTX text that ends with a zero.
struct GpuImage {
  const char* name = nullptr;  // for messages
  const void* data = nullptr;
  int capability_exact = 0;  // only for devices of exactly this capability; 0: for all
};

// The kernels built into this program.
std::span<const GpuImage> built_in_images();

// What decides which kernels suit a device.
struct GpuTraits {
  int capability = 0;  // ten times the major version plus the minor, e.g. 90
  uint32_t multiprocessors = 0;
  uint32_t shared_max = 0;  // bytes of shared memory a block can have

  // Clusters and programmatic launches came with the same generation.
  bool clusters() const { return capability >= 90; }
};

// Must be used, and destroyed, on one thread at a time; use() first on each.
class GpuDevice {
 public:
  // Opens device `index` and loads `images` on it. kUnavailable if there is no driver or no such
  // device, kInvalid if the device is older than capability 7.5, else kInternal. `api` must outlive
  // the device.
  static Result<std::unique_ptr<GpuDevice>> open(CudaApi& api, int index,
                                                 std::span<const GpuImage> images);
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;
  ~GpuDevice();

  // Makes the device current on this thread.
  Result<Done> use() const;
  // The kernel `name`, ready for `shared_bytes` of dynamic shared memory. kInternal if there is
  // none of that name.
  Result<CUfunction> kernel(const std::string& name, uint32_t shared_bytes) const;

  CudaApi& api() const { return api_; }
  int index() const { return index_; }
  const std::string& name() const { return name_; }
  const GpuTraits& traits() const { return traits_; }

 private:
  GpuDevice(CudaApi& api, int index) : api_(api), index_(index) {}
  Result<Done> find();
  Result<Done> load(std::span<const GpuImage> images);

  CudaApi& api_;
  int index_;
  std::string name_;
  GpuTraits traits_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::vector<CUmodule> modules_;
};

}  // namespace sluice
