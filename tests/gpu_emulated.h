// SPDX-License-Identifier: Apache-2.0
#pragma once
// EmulatedCuda: a CudaApi without a GPU. Kernels are the PTX that nvcc made of them, run by the
// interpreter of tests/ptx, which also says what they do wrong; a captured graph is the list of its
// launches. What a launch would leave to run later is done before the call returns.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "gpu/cuda_api.h"
#include "tests/ptx/launch.h"

namespace sluice {

// How the emulated machine is.
struct EmulatedMachine {
  int devices = 1;
  int capability = 80;
  int multiprocessors = 4;
  int shared_max = 166912;                // bytes of shared memory a block can have
  size_t memory_bytes = size_t{1} << 30;  // of the device
  bool check_memory = true;  // looks for races and unwritten memory, several times slower
  // The device with this index is lost at its `launches_good` + 1st launch of a graph.
  int lost_device = -1;
  uint64_t launches_good = 0;
};

class EmulatedCuda final : public CudaApi {
 public:
  explicit EmulatedCuda(const EmulatedMachine& machine) : machine_(machine) {}
  ~EmulatedCuda() override;

  // From the `calls`-th call of `method` on, each gives `code`. A method is named as in cuda_api.h.
  void fail(const std::string& method, CUresult code, uint64_t calls = 1) {
    failures_[method] = {code, calls};
  }
  // Ends the failures.
  void mend() { failures_.clear(); }
  // What the kernels did wrong so far, one line each.
  const std::set<std::string>& findings() const { return findings_; }
  // Calls `counted` after each kernel, with its name and what the interpreter counted.
  void on_kernel(std::function<void(const std::string&, const ptx::Counters&)> counted) {
    counted_ = std::move(counted);
  }
  // Launches of kernels that graphs or callers have run so far.
  uint64_t kernels_run() const { return kernels_run_; }
  // Things made and not destroyed: memory, streams, modules, graphs, contexts.
  size_t alive() const;

  CUresult init() override { return result("init"); }
  CUresult device_count(int* count) override;
  CUresult device_get(CUdevice* device, int index) override;
  CUresult device_name(char* name, int size, CUdevice device) override;
  CUresult device_attribute(int* value, CUdevice_attribute attribute, CUdevice device) override;
  CUresult context_retain(CUcontext* context, CUdevice device) override;
  CUresult context_release(CUdevice device) override;
  CUresult context_set(CUcontext context) override;
  CUresult memory_info(size_t* free_bytes, size_t* total_bytes) override;
  CUresult memory_alloc(CUdeviceptr* address, size_t bytes) override;
  CUresult memory_free(CUdeviceptr address) override;
  CUresult host_alloc(void** address, size_t bytes, unsigned flags) override;
  CUresult host_free(void* address) override;
  CUresult host_device_pointer(CUdeviceptr* address, void* host) override;
  CUresult memory_granularity(size_t* bytes, const CUmemAllocationProp* properties) override;
  CUresult address_reserve(CUdeviceptr* address, size_t bytes) override;
  CUresult address_free(CUdeviceptr address, size_t bytes) override;
  CUresult memory_create(CUmemGenericAllocationHandle* handle, size_t bytes,
                         const CUmemAllocationProp* properties) override;
  CUresult memory_release(CUmemGenericAllocationHandle handle) override;
  CUresult memory_map(CUdeviceptr address, size_t bytes,
                      CUmemGenericAllocationHandle handle) override;
  CUresult memory_unmap(CUdeviceptr address, size_t bytes) override;
  CUresult memory_access(CUdeviceptr address, size_t bytes, const CUmemAccessDesc* access) override;
  CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes) override;
  CUresult copy_in_order(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) override;
  CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes) override;
  CUresult memory_set(CUdeviceptr address, unsigned char value, size_t bytes) override;
  CUresult module_load(CUmodule* module, const void* image) override;
  CUresult module_unload(CUmodule module) override;
  CUresult module_function(CUfunction* function, CUmodule module, const char* name) override;
  CUresult function_set(CUfunction function, CUfunction_attribute attribute, int value) override;
  CUresult launch(const CudaLaunch& launch, CUstream stream) override;
  CUresult stream_create(CUstream* stream) override;
  CUresult stream_destroy(CUstream stream) override;
  CUresult stream_query(CUstream stream) override;
  CUresult stream_synchronize(CUstream stream) override;
  CUresult capture_begin(CUstream stream) override;
  CUresult capture_end(CUstream stream, CUgraph* graph) override;
  CUresult graph_nodes(CUgraph graph, size_t* count) override;
  CUresult graph_instantiate(CUgraphExec* executable, CUgraph graph) override;
  CUresult graph_destroy(CUgraph graph) override;
  CUresult graph_upload(CUgraphExec executable, CUstream stream) override;
  CUresult graph_launch(CUgraphExec executable, CUstream stream) override;
  CUresult executable_destroy(CUgraphExec executable) override;
  std::string error_name(CUresult code) override;

 private:
  // A launch with its parameters' bytes, or a copy.
  struct Recorded {
    const ptx::Kernel* kernel = nullptr;  // null for a copy
    CUdeviceptr to = 0;
    const void* from = nullptr;
    size_t bytes = 0;
    ptx::LaunchShape shape;
    bool early = false;
    std::vector<std::byte> parameters;
  };
  using Recording = std::vector<Recorded>;
  struct Failure {
    CUresult code = CUDA_SUCCESS;
    uint64_t calls_left = 0;
  };
  // Device memory that comes and goes at one address.
  struct Range {
    std::vector<std::byte> bytes;
    bool mapped = false;
  };

  CUresult result(const char* method);
  CUresult run(const Recorded& launch);
  CUresult use(uint64_t bytes);

  EmulatedMachine machine_;
  ptx::Memory memory_;
  size_t used_ = 0;  // bytes of device memory
  std::map<std::string, Failure> failures_;
  std::set<std::string> findings_;
  uint64_t kernels_run_ = 0;
  std::function<void(const std::string&, const ptx::Counters&)> counted_;
  int contexts_ = 0;
  uint64_t next_handle_ = 1;
  std::map<CUdeviceptr, size_t> blocks_;
  std::map<void*, CUdeviceptr> pinned_;
  std::map<CUdeviceptr, Range> ranges_;
  std::map<CUmemGenericAllocationHandle, size_t> handles_;
  std::map<void*, std::unique_ptr<ptx::Module>> modules_;
  std::map<const void*, int> shared_allowed_;  // per kernel
  std::map<void*, std::unique_ptr<Recording>> graphs_;
  std::map<void*, std::unique_ptr<Recording>> executables_;
  std::map<void*, std::unique_ptr<Recording>> streams_;  // null while nothing is captured
};

}  // namespace sluice
