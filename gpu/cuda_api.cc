// SPDX-License-Identifier: Apache-2.0
#include "gpu/cuda_api.h"

#include <dlfcn.h>

#include <array>
#include <utility>

namespace sluice {
namespace {

#define SLUICE_DRIVER_CALLS(DO)     \
  DO(cuInit)                        \
  DO(cuDeviceGetCount)              \
  DO(cuDeviceGet)                   \
  DO(cuDeviceGetName)               \
  DO(cuDeviceGetAttribute)          \
  DO(cuDevicePrimaryCtxRetain)      \
  DO(cuDevicePrimaryCtxRelease)     \
  DO(cuCtxSetCurrent)               \
  DO(cuMemGetInfo)                  \
  DO(cuMemAlloc)                    \
  DO(cuMemFree)                     \
  DO(cuMemHostAlloc)                \
  DO(cuMemFreeHost)                 \
  DO(cuMemHostGetDevicePointer)     \
  DO(cuMemGetAllocationGranularity) \
  DO(cuMemAddressReserve)           \
  DO(cuMemAddressFree)              \
  DO(cuMemCreate)                   \
  DO(cuMemRelease)                  \
  DO(cuMemMap)                      \
  DO(cuMemUnmap)                    \
  DO(cuMemSetAccess)                \
  DO(cuMemcpyHtoD)                  \
  DO(cuMemcpyHtoDAsync)             \
  DO(cuMemcpyDtoH)                  \
  DO(cuMemsetD8)                    \
  DO(cuModuleLoadData)              \
  DO(cuModuleUnload)                \
  DO(cuModuleGetFunction)           \
  DO(cuFuncSetAttribute)            \
  DO(cuLaunchKernelEx)              \
  DO(cuStreamCreate)                \
  DO(cuStreamDestroy)               \
  DO(cuStreamQuery)                 \
  DO(cuStreamSynchronize)           \
  DO(cuStreamBeginCapture)          \
  DO(cuStreamEndCapture)            \
  DO(cuGraphGetNodes)               \
  DO(cuGraphInstantiate)            \
  DO(cuGraphDestroy)                \
  DO(cuGraphUpload)                 \
  DO(cuGraphLaunch)                 \
  DO(cuGraphExecDestroy)            \
  DO(cuGetErrorName)

struct Table {
#define SLUICE_MEMBER(NAME) decltype(&::NAME) NAME = nullptr;  // NOLINT(*-macro-parentheses)
  SLUICE_DRIVER_CALLS(SLUICE_MEMBER)
#undef SLUICE_MEMBER
};

class Driver final : public CudaApi {
 public:
  Driver(void* library, const Table& table) : library_(library), table_(table) {}
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  ~Driver() override { ::dlclose(library_); }

  CUresult init() override { return table_.cuInit(0); }
  CUresult device_count(int* count) override { return table_.cuDeviceGetCount(count); }
  CUresult device_get(CUdevice* device, int index) override {
    return table_.cuDeviceGet(device, index);
  }
  CUresult device_name(char* name, int size, CUdevice device) override {
    return table_.cuDeviceGetName(name, size, device);
  }
  CUresult device_attribute(int* value, CUdevice_attribute attribute, CUdevice device) override {
    return table_.cuDeviceGetAttribute(value, attribute, device);
  }
  CUresult context_retain(CUcontext* context, CUdevice device) override {
    return table_.cuDevicePrimaryCtxRetain(context, device);
  }
  CUresult context_release(CUdevice device) override {
    return table_.cuDevicePrimaryCtxRelease(device);
  }
  CUresult context_set(CUcontext context) override { return table_.cuCtxSetCurrent(context); }
  CUresult memory_info(size_t* free_bytes, size_t* total_bytes) override {
    return table_.cuMemGetInfo(free_bytes, total_bytes);
  }
  CUresult memory_alloc(CUdeviceptr* address, size_t bytes) override {
    return table_.cuMemAlloc(address, bytes);
  }
  CUresult memory_free(CUdeviceptr address) override { return table_.cuMemFree(address); }
  CUresult host_alloc(void** address, size_t bytes, unsigned flags) override {
    return table_.cuMemHostAlloc(address, bytes, flags);
  }
  CUresult host_free(void* address) override { return table_.cuMemFreeHost(address); }
  CUresult host_device_pointer(CUdeviceptr* address, void* host) override {
    return table_.cuMemHostGetDevicePointer(address, host, 0);
  }
  CUresult memory_granularity(size_t* bytes, const CUmemAllocationProp* properties) override {
    return table_.cuMemGetAllocationGranularity(bytes, properties,
                                                CU_MEM_ALLOC_GRANULARITY_MINIMUM);
  }
  CUresult address_reserve(CUdeviceptr* address, size_t bytes) override {
    return table_.cuMemAddressReserve(address, bytes, 0, 0, 0);
  }
  CUresult address_free(CUdeviceptr address, size_t bytes) override {
    return table_.cuMemAddressFree(address, bytes);
  }
  CUresult memory_create(CUmemGenericAllocationHandle* handle, size_t bytes,
                         const CUmemAllocationProp* properties) override {
    return table_.cuMemCreate(handle, bytes, properties, 0);
  }
  CUresult memory_release(CUmemGenericAllocationHandle handle) override {
    return table_.cuMemRelease(handle);
  }
  CUresult memory_map(CUdeviceptr address, size_t bytes,
                      CUmemGenericAllocationHandle handle) override {
    return table_.cuMemMap(address, bytes, 0, handle, 0);
  }
  CUresult memory_unmap(CUdeviceptr address, size_t bytes) override {
    return table_.cuMemUnmap(address, bytes);
  }
  CUresult memory_access(CUdeviceptr address, size_t bytes,
                         const CUmemAccessDesc* access) override {
    return table_.cuMemSetAccess(address, bytes, access, 1);
  }
  CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes) override {
    return table_.cuMemcpyHtoD(to, from, bytes);
  }
  CUresult copy_in_order(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) override {
    return table_.cuMemcpyHtoDAsync(to, from, bytes, stream);
  }
  CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes) override {
    return table_.cuMemcpyDtoH(to, from, bytes);
  }
  CUresult memory_set(CUdeviceptr address, unsigned char value, size_t bytes) override {
    return table_.cuMemsetD8(address, value, bytes);
  }
  CUresult module_load(CUmodule* module, const void* image) override {
    return table_.cuModuleLoadData(module, image);
  }
  CUresult module_unload(CUmodule module) override { return table_.cuModuleUnload(module); }
  CUresult module_function(CUfunction* function, CUmodule module, const char* name) override {
    return table_.cuModuleGetFunction(function, module, name);
  }
  CUresult function_set(CUfunction function, CUfunction_attribute attribute, int value) override {
    return table_.cuFuncSetAttribute(function, attribute, value);
  }
  CUresult stream_create(CUstream* stream) override {
    return table_.cuStreamCreate(stream, CU_STREAM_NON_BLOCKING);
  }
  CUresult stream_destroy(CUstream stream) override { return table_.cuStreamDestroy(stream); }
  CUresult stream_query(CUstream stream) override { return table_.cuStreamQuery(stream); }
  CUresult stream_synchronize(CUstream stream) override {
    return table_.cuStreamSynchronize(stream);
  }
  CUresult capture_begin(CUstream stream) override {
    return table_.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  }
  CUresult capture_end(CUstream stream, CUgraph* graph) override {
    return table_.cuStreamEndCapture(stream, graph);
  }
  CUresult graph_nodes(CUgraph graph, size_t* count) override {
    return table_.cuGraphGetNodes(graph, nullptr, count);
  }
  CUresult graph_instantiate(CUgraphExec* executable, CUgraph graph) override {
    return table_.cuGraphInstantiate(executable, graph, 0);
  }
  CUresult graph_destroy(CUgraph graph) override { return table_.cuGraphDestroy(graph); }
  CUresult graph_upload(CUgraphExec executable, CUstream stream) override {
    return table_.cuGraphUpload(executable, stream);
  }
  CUresult graph_launch(CUgraphExec executable, CUstream stream) override {
    return table_.cuGraphLaunch(executable, stream);
  }
  CUresult executable_destroy(CUgraphExec executable) override {
    return table_.cuGraphExecDestroy(executable);
  }
  CUresult launch(const CudaLaunch& launch, CUstream stream) override;
  std::string error_name(CUresult code) override {
    const char* name = nullptr;
    if (table_.cuGetErrorName(code, &name) == CUDA_SUCCESS && name != nullptr) return name;
    return "CUDA error " + std::to_string(code);
  }

 private:
  void* library_;
  Table table_;
};

CUresult Driver::launch(const CudaLaunch& launch, CUstream stream) {
  std::array<CUlaunchAttribute, 2> attributes = {};
  CUlaunchConfig config = {};
  config.gridDimX = launch.grid_x;
  config.gridDimY = launch.grid_y;
  config.gridDimZ = 1;
  config.blockDimX = launch.threads;
  config.blockDimY = 1;
  config.blockDimZ = 1;
  config.sharedMemBytes = launch.shared_bytes;
  config.hStream = stream;
  config.attrs = attributes.data();
  if (launch.early) {
    CUlaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
  }
  if (launch.cluster_x > 1) {
    CUlaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim.x = launch.cluster_x;
    attribute.value.clusterDim.y = 1;
    attribute.value.clusterDim.z = 1;
  }
  void* parameters[] = {launch.parameters};
  return table_.cuLaunchKernelEx(&config, launch.function, parameters, nullptr);
}

// cuda.h renames calls whose meaning has changed, cuMemAlloc to cuMemAlloc_v2: the library is asked
// for the name that the types here are of.
#define SLUICE_TEXT(NAME) SLUICE_TEXT_OF(NAME)
#define SLUICE_TEXT_OF(NAME) #NAME

// Finds one call; returns its name if the library has it not, else what was missing before.
template <typename Function>
const char* find(void* library, Function& function, const char* name, const char* missing) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr ? missing : name;
}

// Returns the name of a call that is missing, or null.
const char* fill(void* library, Table& table) {
  const char* missing = nullptr;
#define SLUICE_FIND(NAME) missing = find(library, table.NAME, SLUICE_TEXT(NAME), missing);
  SLUICE_DRIVER_CALLS(SLUICE_FIND)
#undef SLUICE_FIND
  return missing;
}

}  // namespace

Result<std::unique_ptr<CudaApi>> open_cuda_driver() {
  void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    return Error{Code::kUnavailable, "no CUDA driver: libcuda.so.1 is not on this machine"};
  }
  Table table;
  if (const char* missing = fill(library, table); missing != nullptr) {
    ::dlclose(library);
    return Error{Code::kUnavailable,
                 std::string("the CUDA driver is too old: it has no ") + missing};
  }
  return std::unique_ptr<CudaApi>(std::make_unique<Driver>(library, table));
}

}  // namespace sluice
