// SPDX-License-Identifier: Apache-2.0
#pragma once
// Memory for the GPU, freed by destructors: on the device, pinned on the host, and on the device at
// an address that outlives it. A context must be current wherever one is made or destroyed.

#include <cstddef>

#include "gpu/cuda_api.h"

namespace sluice {

// An address as kernels are given it; the host must not follow it.
template <typename T>
T* device_pointer(CUdeviceptr address) {
  return reinterpret_cast<T*>(address);  // NOLINT(performance-no-int-to-ptr)
}

// Device memory.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // `bytes` of device memory, set to zero. kUnavailable, saying what was needed and what is free,
  // if there is not enough.
  static Result<DeviceMemory> make(CudaApi& api, size_t bytes, const char* what);
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory();

  // The pointer that kernels are given; the host must not follow it.
  template <typename T>
  T* as(size_t offset = 0) const {
    return device_pointer<T>(address_ + offset);
  }
  CUdeviceptr address() const { return address_; }

 private:
  CudaApi* api_ = nullptr;
  CUdeviceptr address_ = 0;
};

// Pinned host memory that the device can read and write.
class HostMemory {
 public:
  HostMemory() = default;
  // `bytes` of it, set to zero. kUnavailable if there is not enough.
  static Result<HostMemory> make(CudaApi& api, size_t bytes, const char* what);
  HostMemory(HostMemory&& other) noexcept;
  HostMemory& operator=(HostMemory&& other) noexcept;
  ~HostMemory();

  // For the host.
  std::byte* data() const { return static_cast<std::byte*>(host_); }
  // For kernels.
  template <typename T>
  T* device() const {
    return device_pointer<T>(device_);
  }

 private:
  CudaApi* api_ = nullptr;
  void* host_ = nullptr;
  CUdeviceptr device_ = 0;
};

// A range of device addresses that keeps its place while the memory behind it comes and goes, so
// that what has the addresses built in, a captured graph, stays good.
class MappedMemory {
 public:
  MappedMemory() = default;
  // Reserves addresses for `bytes` on `device`; there is no memory behind them yet.
  static Result<MappedMemory> reserve(CudaApi& api, int device, size_t bytes);
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;
  ~MappedMemory();

  // Puts memory behind the addresses; what it holds is not defined. kUnavailable, saying what was
  // needed and what is free, if there is not enough. REQUIRES: !backed()
  Result<Done> back();
  // Gives the memory up. REQUIRES: backed(), and no work that uses it is under way.
  Result<Done> unback();
  bool backed() const { return backed_; }
  CUdeviceptr address() const { return address_; }

 private:
  void swap(MappedMemory& other) noexcept;

  CudaApi* api_ = nullptr;
  int device_ = 0;
  CUdeviceptr address_ = 0;
  size_t bytes_ = 0;  // a multiple of the granularity
  bool backed_ = false;
  CUmemGenericAllocationHandle handle_ = 0;
};

}  // namespace sluice
