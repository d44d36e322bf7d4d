// SPDX-License-Identifier: Apache-2.0
#include "gpu/memory.h"

#include <cstring>
#include <string>
#include <utility>

namespace sluice {
namespace {

std::string mib(size_t bytes) { return std::to_string((bytes + (1U << 20U) - 1) >> 20U) + " MiB"; }

Error no_memory(CudaApi& api, CUresult code, size_t bytes, const char* what) {
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  std::string text = std::string("GPU: ") + what + " need " + mib(bytes);
  if (api.memory_info(&free_bytes, &total_bytes) == CUDA_SUCCESS) {
    text += ", free are " + mib(free_bytes) + " of " + mib(total_bytes);
  }
  // Anything else will not be better another time.
  const Code kind = code == CUDA_ERROR_OUT_OF_MEMORY ? Code::kUnavailable : Code::kInternal;
  return Error{kind, text + " (" + api.error_name(code) + ")"};
}

CUmemAllocationProp properties_of(int device) {
  CUmemAllocationProp properties = {};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  return properties;
}

}  // namespace

Result<DeviceMemory> DeviceMemory::make(CudaApi& api, size_t bytes, const char* what) {
  DeviceMemory memory;
  CUresult code = api.memory_alloc(&memory.address_, bytes);
  if (code != CUDA_SUCCESS) return no_memory(api, code, bytes, what);
  memory.api_ = &api;
  code = api.memory_set(memory.address_, 0, bytes);
  if (const Result<Done> set = cuda_result(api, code, "clearing memory"); !set.ok()) {
    return set.error();
  }
  return memory;
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : api_(std::exchange(other.api_, nullptr)), address_(other.address_) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(api_, other.api_);
  std::swap(address_, other.address_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  if (api_ != nullptr) static_cast<void>(api_->memory_free(address_));
}

Result<HostMemory> HostMemory::make(CudaApi& api, size_t bytes, const char* what) {
  HostMemory memory;
  CUresult code =
      api.host_alloc(&memory.host_, bytes, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE);
  if (code != CUDA_SUCCESS) {
    return Error{Code::kUnavailable, std::string("GPU: ") + what + " need " + mib(bytes) +
                                         " of pinned memory (" + api.error_name(code) + ")"};
  }
  memory.api_ = &api;
  std::memset(memory.host_, 0, bytes);
  code = api.host_device_pointer(&memory.device_, memory.host_);
  if (const Result<Done> found = cuda_result(api, code, "mapping pinned memory"); !found.ok()) {
    return found.error();
  }
  return memory;
}

HostMemory::HostMemory(HostMemory&& other) noexcept
    : api_(std::exchange(other.api_, nullptr)), host_(other.host_), device_(other.device_) {}

HostMemory& HostMemory::operator=(HostMemory&& other) noexcept {
  std::swap(api_, other.api_);
  std::swap(host_, other.host_);
  std::swap(device_, other.device_);
  return *this;
}

HostMemory::~HostMemory() {
  if (api_ != nullptr) static_cast<void>(api_->host_free(host_));
}

Result<MappedMemory> MappedMemory::reserve(CudaApi& api, int device, size_t bytes) {
  const CUmemAllocationProp properties = properties_of(device);
  size_t granularity = 0;
  Result<Done> done = cuda_result(api, api.memory_granularity(&granularity, &properties),
                                  "asking for the granularity of memory");
  if (!done.ok()) return done.error();
  MappedMemory memory;
  memory.device_ = device;
  memory.bytes_ = (bytes + granularity - 1) / granularity * granularity;
  done =
      cuda_result(api, api.address_reserve(&memory.address_, memory.bytes_), "reserving addresses");
  if (!done.ok()) return done.error();
  memory.api_ = &api;
  return memory;
}

void MappedMemory::swap(MappedMemory& other) noexcept {
  std::swap(api_, other.api_);
  std::swap(device_, other.device_);
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  std::swap(backed_, other.backed_);
  std::swap(handle_, other.handle_);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept { swap(other); }

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  swap(other);
  return *this;
}

MappedMemory::~MappedMemory() {
  if (api_ == nullptr) return;
  if (backed_) static_cast<void>(unback());
  static_cast<void>(api_->address_free(address_, bytes_));
}

Result<Done> MappedMemory::back() {
  ASSERT(api_ != nullptr && !backed_);
  const CUmemAllocationProp properties = properties_of(device_);
  const CUresult code = api_->memory_create(&handle_, bytes_, &properties);
  if (code != CUDA_SUCCESS) return no_memory(*api_, code, bytes_, "the weights");
  Result<Done> done = cuda_result(*api_, api_->memory_map(address_, bytes_, handle_), "mapping");
  if (!done.ok()) {
    static_cast<void>(api_->memory_release(handle_));
    return done;
  }
  backed_ = true;
  CUmemAccessDesc access = {};
  access.location = properties.location;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return cuda_result(*api_, api_->memory_access(address_, bytes_, &access), "opening memory");
}

Result<Done> MappedMemory::unback() {
  ASSERT(api_ != nullptr && backed_);
  backed_ = false;
  Result<Done> unmapped = cuda_result(*api_, api_->memory_unmap(address_, bytes_), "unmapping");
  // Memory that is still mapped is freed when its context goes.
  Result<Done> released = cuda_result(*api_, api_->memory_release(handle_), "freeing memory");
  return unmapped.ok() ? released : unmapped;
}

}  // namespace sluice
