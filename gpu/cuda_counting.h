// SPDX-License-Identifier: Apache-2.0
#pragma once
// CountingCuda: a CudaApi that passes everything on and counts what gives the device work, so that
// "one submission per batch" is a number and not a belief.

#include <atomic>
#include <cstdint>
#include <string>

#include "gpu/cuda_api.h"

namespace sluice {

// Calls so far that gave the device work. Launches and copies that a capture recorded are not among
// them.
struct CudaCounts {
  uint64_t graph_launches = 0;
  uint64_t kernel_launches = 0;
  uint64_t copies = 0;
  uint64_t sets = 0;

  // All of them.
  uint64_t submissions() const { return graph_launches + kernel_launches + copies + sets; }
};

// What a recorded graph is made of.
struct CudaNodes {
  uint32_t kernels = 0;
  uint32_t copies = 0;

  // All of them.
  uint32_t all() const { return kernels + copies; }
};

// Passes each call on to another CudaApi.
class CountingCuda final : public CudaApi {
 public:
  // `api` must outlive this.
  explicit CountingCuda(CudaApi& api) : api_(api) {}
  // What has been counted; from any thread.
  CudaCounts counts() const { return {graph_launches_, kernel_launches_, copies_, sets_}; }
  // The nodes of that graph among those recorded so far which has the most. On the thread that
  // records.
  const CudaNodes& largest_graph() const { return largest_; }

  CUresult init() override { return api_.init(); }
  CUresult device_count(int* count) override { return api_.device_count(count); }
  CUresult device_get(CUdevice* device, int index) override {
    return api_.device_get(device, index);
  }
  CUresult device_name(char* name, int size, CUdevice device) override {
    return api_.device_name(name, size, device);
  }
  CUresult device_attribute(int* value, CUdevice_attribute attribute, CUdevice device) override {
    return api_.device_attribute(value, attribute, device);
  }
  CUresult context_retain(CUcontext* context, CUdevice device) override {
    return api_.context_retain(context, device);
  }
  CUresult context_release(CUdevice device) override { return api_.context_release(device); }
  CUresult context_set(CUcontext context) override { return api_.context_set(context); }
  CUresult memory_info(size_t* free_bytes, size_t* total_bytes) override {
    return api_.memory_info(free_bytes, total_bytes);
  }
  CUresult memory_alloc(CUdeviceptr* address, size_t bytes) override {
    return api_.memory_alloc(address, bytes);
  }
  CUresult memory_free(CUdeviceptr address) override { return api_.memory_free(address); }
  CUresult host_alloc(void** address, size_t bytes, unsigned flags) override {
    return api_.host_alloc(address, bytes, flags);
  }
  CUresult host_free(void* address) override { return api_.host_free(address); }
  CUresult host_device_pointer(CUdeviceptr* address, void* host) override {
    return api_.host_device_pointer(address, host);
  }
  CUresult memory_granularity(size_t* bytes, const CUmemAllocationProp* properties) override {
    return api_.memory_granularity(bytes, properties);
  }
  CUresult address_reserve(CUdeviceptr* address, size_t bytes) override {
    return api_.address_reserve(address, bytes);
  }
  CUresult address_free(CUdeviceptr address, size_t bytes) override {
    return api_.address_free(address, bytes);
  }
  CUresult memory_create(CUmemGenericAllocationHandle* handle, size_t bytes,
                         const CUmemAllocationProp* properties) override {
    return api_.memory_create(handle, bytes, properties);
  }
  CUresult memory_release(CUmemGenericAllocationHandle handle) override {
    return api_.memory_release(handle);
  }
  CUresult memory_map(CUdeviceptr address, size_t bytes,
                      CUmemGenericAllocationHandle handle) override {
    return api_.memory_map(address, bytes, handle);
  }
  CUresult memory_unmap(CUdeviceptr address, size_t bytes) override {
    return api_.memory_unmap(address, bytes);
  }
  CUresult memory_access(CUdeviceptr address, size_t bytes,
                         const CUmemAccessDesc* access) override {
    return api_.memory_access(address, bytes, access);
  }
  CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes) override {
    ++copies_;
    return api_.copy_to_device(to, from, bytes);
  }
  CUresult copy_in_order(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) override {
    if (capturing_) {
      ++recorded_.copies;
    } else {
      ++copies_;
    }
    return api_.copy_in_order(to, from, bytes, stream);
  }
  CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes) override {
    ++copies_;
    return api_.copy_to_host(to, from, bytes);
  }
  CUresult memory_set(CUdeviceptr address, unsigned char value, size_t bytes) override {
    ++sets_;
    return api_.memory_set(address, value, bytes);
  }
  CUresult module_load(CUmodule* module, const void* image) override {
    return api_.module_load(module, image);
  }
  CUresult module_unload(CUmodule module) override { return api_.module_unload(module); }
  CUresult module_function(CUfunction* function, CUmodule module, const char* name) override {
    return api_.module_function(function, module, name);
  }
  CUresult function_set(CUfunction function, CUfunction_attribute attribute, int value) override {
    return api_.function_set(function, attribute, value);
  }
  CUresult launch(const CudaLaunch& launch, CUstream stream) override {
    if (capturing_) {
      ++recorded_.kernels;
    } else {
      ++kernel_launches_;
    }
    return api_.launch(launch, stream);
  }
  CUresult stream_create(CUstream* stream) override { return api_.stream_create(stream); }
  CUresult stream_destroy(CUstream stream) override { return api_.stream_destroy(stream); }
  CUresult stream_query(CUstream stream) override { return api_.stream_query(stream); }
  CUresult stream_synchronize(CUstream stream) override { return api_.stream_synchronize(stream); }
  CUresult capture_begin(CUstream stream) override {
    capturing_ = true;
    recorded_ = {};
    return api_.capture_begin(stream);
  }
  CUresult capture_end(CUstream stream, CUgraph* graph) override {
    capturing_ = false;
    if (recorded_.all() > largest_.all()) largest_ = recorded_;
    return api_.capture_end(stream, graph);
  }
  CUresult graph_nodes(CUgraph graph, size_t* count) override {
    return api_.graph_nodes(graph, count);
  }
  CUresult graph_instantiate(CUgraphExec* executable, CUgraph graph) override {
    return api_.graph_instantiate(executable, graph);
  }
  CUresult graph_destroy(CUgraph graph) override { return api_.graph_destroy(graph); }
  CUresult graph_upload(CUgraphExec executable, CUstream stream) override {
    return api_.graph_upload(executable, stream);
  }
  CUresult graph_launch(CUgraphExec executable, CUstream stream) override {
    ++graph_launches_;
    return api_.graph_launch(executable, stream);
  }
  CUresult executable_destroy(CUgraphExec executable) override {
    return api_.executable_destroy(executable);
  }
  std::string error_name(CUresult code) override { return api_.error_name(code); }

 private:
  CudaApi& api_;
  std::atomic<uint64_t> graph_launches_ = 0;
  std::atomic<uint64_t> kernel_launches_ = 0;
  std::atomic<uint64_t> copies_ = 0;
  std::atomic<uint64_t> sets_ = 0;
  std::atomic<bool> capturing_ = false;
  CudaNodes recorded_;  // so far, while capturing
  CudaNodes largest_;
};

}  // namespace sluice
