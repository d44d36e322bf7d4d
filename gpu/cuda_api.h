// SPDX-License-Identifier: Apache-2.0
#pragma once
// CudaApi: every call of the CUDA driver that we make, in one interface, so that a test can be the
// driver and a counter can stand between. One method is one call of the driver, named after it.

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"

namespace sluice {

// One kernel launch. `parameters` points to the kernel's only parameter, a struct.
struct CudaLaunch {
  CUfunction function = nullptr;
  uint32_t grid_x = 1;
  uint32_t grid_y = 1;
  uint32_t threads = 1;
  uint32_t shared_bytes = 0;
  uint32_t cluster_x = 1;  // blocks of a cluster, along x
  bool early = false;      // may start before the kernel before it has ended (programmatic launch)
  void* parameters = nullptr;
};

// Methods return the driver's code, CUDA_SUCCESS is 0. Any thread may call them; all but init() and
// the device's need a current context. Implementations are free of state that a caller can see.
class CudaApi {
 public:
  virtual ~CudaApi() = default;

  // Initialises the driver. The first call.
  virtual CUresult init() = 0;
  // The number of devices.
  virtual CUresult device_count(int* count) = 0;
  // The device with this index.
  virtual CUresult device_get(CUdevice* device, int index) = 0;
  // Its name, ended by a zero, in at most `size` bytes.
  virtual CUresult device_name(char* name, int size, CUdevice device) = 0;
  // One of its numbers.
  virtual CUresult device_attribute(int* value, CUdevice_attribute attribute, CUdevice device) = 0;
  // Makes the device's primary context, or counts one more user of it.
  virtual CUresult context_retain(CUcontext* context, CUdevice device) = 0;
  // Undoes one context_retain().
  virtual CUresult context_release(CUdevice device) = 0;
  // Makes `context` the calling thread's.
  virtual CUresult context_set(CUcontext context) = 0;
  // Bytes free and bytes there are on the device.
  virtual CUresult memory_info(size_t* free_bytes, size_t* total_bytes) = 0;

  // Device memory, aligned to 256 bytes.
  virtual CUresult memory_alloc(CUdeviceptr* address, size_t bytes) = 0;
  // Frees it.
  virtual CUresult memory_free(CUdeviceptr address) = 0;
  // Pinned host memory that the device can address; `flags` as CU_MEMHOSTALLOC_*.
  virtual CUresult host_alloc(void** address, size_t bytes, unsigned flags) = 0;
  // Frees it.
  virtual CUresult host_free(void* address) = 0;
  // The address by which the device knows pinned memory.
  virtual CUresult host_device_pointer(CUdeviceptr* address, void* host) = 0;
  // Multiple that sizes for memory_create() must have.
  virtual CUresult memory_granularity(size_t* bytes, const CUmemAllocationProp* properties) = 0;
  // A range of addresses with nothing behind it.
  virtual CUresult address_reserve(CUdeviceptr* address, size_t bytes) = 0;
  // Gives the range back.
  virtual CUresult address_free(CUdeviceptr address, size_t bytes) = 0;
  // Memory without an address.
  virtual CUresult memory_create(CUmemGenericAllocationHandle* handle, size_t bytes,
                                 const CUmemAllocationProp* properties) = 0;
  // Frees it, once it is not mapped.
  virtual CUresult memory_release(CUmemGenericAllocationHandle handle) = 0;
  // Puts memory behind a range of addresses.
  virtual CUresult memory_map(CUdeviceptr address, size_t bytes,
                              CUmemGenericAllocationHandle handle) = 0;
  // Takes it away.
  virtual CUresult memory_unmap(CUdeviceptr address, size_t bytes) = 0;
  // Lets a device read and write the range.
  virtual CUresult memory_access(CUdeviceptr address, size_t bytes,
                                 const CUmemAccessDesc* access) = 0;
  // Copies to the device; returns when the bytes are there.
  virtual CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes) = 0;
  // Copies pinned memory to the device in the stream's order, or records that.
  virtual CUresult copy_in_order(CUdeviceptr to, const void* from, size_t bytes,
                                 CUstream stream) = 0;
  // Copies from the device; returns when the bytes are there.
  virtual CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes) = 0;
  // Sets every byte; ordered with what the device does on no stream.
  virtual CUresult memory_set(CUdeviceptr address, unsigned char value, size_t bytes) = 0;

  // Kernels: a cubin, a fatbin or PTX text, which ends with a zero.
  virtual CUresult module_load(CUmodule* module, const void* image) = 0;
  // Unloads them.
  virtual CUresult module_unload(CUmodule module) = 0;
  // The kernel `name` of a module.
  virtual CUresult module_function(CUfunction* function, CUmodule module, const char* name) = 0;
  // Sets a limit of a kernel.
  virtual CUresult function_set(CUfunction function, CUfunction_attribute attribute, int value) = 0;
  // Runs a kernel on `stream`, or records it if the stream is being captured.
  virtual CUresult launch(const CudaLaunch& launch, CUstream stream) = 0;

  // A queue of work that does not wait for the default stream.
  virtual CUresult stream_create(CUstream* stream) = 0;
  // Ends it.
  virtual CUresult stream_destroy(CUstream stream) = 0;
  // CUDA_SUCCESS when all of its work is done, CUDA_ERROR_NOT_READY, or what went wrong.
  virtual CUresult stream_query(CUstream stream) = 0;
  // Waits until all of its work is done.
  virtual CUresult stream_synchronize(CUstream stream) = 0;
  // From here work given to the stream is recorded.
  virtual CUresult capture_begin(CUstream stream) = 0;
  // Ends the recording and gives the graph.
  virtual CUresult capture_end(CUstream stream, CUgraph* graph) = 0;
  // The number of the graph's nodes.
  virtual CUresult graph_nodes(CUgraph graph, size_t* count) = 0;
  // Makes a graph ready to run.
  virtual CUresult graph_instantiate(CUgraphExec* executable, CUgraph graph) = 0;
  // Frees the recording; executables made from it stay.
  virtual CUresult graph_destroy(CUgraph graph) = 0;
  // Puts an executable on the device before its first launch.
  virtual CUresult graph_upload(CUgraphExec executable, CUstream stream) = 0;
  // Runs all of it.
  virtual CUresult graph_launch(CUgraphExec executable, CUstream stream) = 0;
  // Frees an executable.
  virtual CUresult executable_destroy(CUgraphExec executable) = 0;

  // The driver's name for a code, e.g. "CUDA_ERROR_OUT_OF_MEMORY".
  virtual std::string error_name(CUresult code) = 0;
};

// The driver of this machine, found when this is called: a program that never calls it, or finds
// none, needs none. kUnavailable, saying in one sentence what is missing, if there is no driver or
// it is too old.
Result<std::unique_ptr<CudaApi>> open_cuda_driver();

// Done, or kInternal (kUnavailable for want of memory) with what was being done and the driver's
// name for `code`.
Result<Done> cuda_result(CudaApi& api, CUresult code, const char* what);

}  // namespace sluice
