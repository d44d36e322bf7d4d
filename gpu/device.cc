// SPDX-License-Identifier: Apache-2.0
#include "gpu/device.h"

#include <array>

namespace sluice {

Result<std::unique_ptr<GpuDevice>> GpuDevice::open(CudaApi& api, int index,
                                                   std::span<const GpuImage> images) {
  std::unique_ptr<GpuDevice> device(new GpuDevice(api, index));
  Result<Done> done = device->find();
  if (done.ok()) done = device->use();
  if (done.ok()) done = device->load(images);
  if (!done.ok()) return done.error();
  return device;
}

Result<Done> GpuDevice::find() {
  if (const CUresult code = api_.init(); code != CUDA_SUCCESS) {
    return Error{Code::kUnavailable, "the CUDA driver does not start: " + api_.error_name(code)};
  }
  int count = 0;
  Result<Done> done = cuda_result(api_, api_.device_count(&count), "counting devices");
  if (!done.ok()) return done;
  if (index_ < 0 || index_ >= count) {
    return Error{Code::kUnavailable, "there is no GPU " + std::to_string(index_) + ", only " +
                                         std::to_string(count) + " of them"};
  }
  done = cuda_result(api_, api_.device_get(&device_, index_), "finding the device");
  if (!done.ok()) return done;
  std::array<char, 256> name = {};
  int major = 0;
  int minor = 0;
  int multiprocessors = 0;
  int shared = 0;
  CUresult code = api_.device_name(name.data(), static_cast<int>(name.size()), device_);
  const auto ask = [&](int* value, CUdevice_attribute attribute) {
    if (code == CUDA_SUCCESS) code = api_.device_attribute(value, attribute, device_);
  };
  ask(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  ask(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  ask(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  ask(&shared, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  if (code == CUDA_SUCCESS) code = api_.context_retain(&context_, device_);
  done = cuda_result(api_, code, "opening the device");
  if (!done.ok()) return done;
  name_ = name.data();
  traits_ = {major * 10 + minor, static_cast<uint32_t>(multiprocessors),
             static_cast<uint32_t>(shared)};
  if (traits_.capability < 75) {
    return Error{Code::kInvalid, "the GPU " + name_ + " has compute capability " +
                                     std::to_string(major) + "." + std::to_string(minor) +
                                     "; 7.5 is needed"};
  }
  return Done{};
}

Result<Done> GpuDevice::use() const {
  return cuda_result(api_, api_.context_set(context_), "entering the context");
}

Result<Done> GpuDevice::load(std::span<const GpuImage> images) {
  for (const GpuImage& image : images) {
    if (image.capability_exact != 0 && image.capability_exact != traits_.capability) continue;
    CUmodule module = nullptr;
    const std::string what = std::string("loading the kernels ") + image.name;
    const Result<Done> loaded =
        cuda_result(api_, api_.module_load(&module, image.data), what.c_str());
    if (!loaded.ok()) return loaded;
    modules_.push_back(module);
  }
  return Done{};
}

Result<CUfunction> GpuDevice::kernel(const std::string& name, uint32_t shared_bytes) const {
  for (CUmodule module : modules_) {
    CUfunction function = nullptr;
    const CUresult code = api_.module_function(&function, module, name.c_str());
    if (code == CUDA_ERROR_NOT_FOUND) continue;
    Result<Done> done = cuda_result(api_, code, "finding a kernel");
    if (done.ok() && shared_bytes > 0) {
      done =
          cuda_result(api_,
                      api_.function_set(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                        static_cast<int>(shared_bytes)),
                      "giving a kernel its shared memory");
    }
    if (!done.ok()) return done.error();
    return function;
  }
  return Error{Code::kInternal, "GPU: there is no kernel " + name};
}

GpuDevice::~GpuDevice() {
  if (context_ == nullptr) return;
  static_cast<void>(use());
  for (CUmodule module : modules_) static_cast<void>(api_.module_unload(module));
  static_cast<void>(api_.context_release(device_));
}

}  // namespace sluice
