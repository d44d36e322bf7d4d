// SPDX-License-Identifier: Apache-2.0
#pragma once
// HookedCuda: a CudaApi that passes everything on, and on the way notes each call, lets any of them
// fail, lets batches end late, and refuses what may not be called while a stream is captured.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "gpu/cuda_api.h"

namespace sluice {

// Set up and asked from one thread while no other is in a call.
class HookedCuda final : public CudaApi {
 public:
  explicit HookedCuda(CudaApi& api) : api_(api) {}

  // Calls so far, of all methods and of one; a method is named as in cuda_api.h.
  uint64_t calls() const { return calls_; }
  uint64_t calls(const std::string& method) const {
    const auto found = by_method_.find(method);
    return found != by_method_.end() ? found->second : 0;
  }
  // The `call`-th call from now on, counted from 1, gives `code` and does nothing; with `for_good`
  // each after it too. What frees something does it all the same.
  void fail(uint64_t call, CUresult code, bool for_good) {
    fail_at_ = calls_ + call;
    failure_ = code;
    for_good_ = for_good;
    failed_.clear();
  }
  // Ends the failures.
  void mend() { fail_at_ = UINT64_MAX; }
  // The first method that failed, if one did.
  const std::string& failed() const { return failed_; }
  // From now on a graph runs at the `queries`-th query after its launch; 0: at once.
  void run_late(uint64_t queries) { late_ = queries; }
  // What was called though it may not be, one line each.
  const std::set<std::string>& findings() const { return findings_; }

  CUresult init() override {
    return hook("init", [&] { return api_.init(); });
  }
  CUresult device_count(int* count) override {
    return hook("device_count", [&] { return api_.device_count(count); });
  }
  CUresult device_get(CUdevice* device, int index) override {
    return hook("device_get", [&] { return api_.device_get(device, index); });
  }
  CUresult device_name(char* name, int size, CUdevice device) override {
    return hook("device_name", [&] { return api_.device_name(name, size, device); });
  }
  CUresult device_attribute(int* value, CUdevice_attribute attribute, CUdevice device) override {
    return hook("device_attribute",
                [&] { return api_.device_attribute(value, attribute, device); });
  }
  CUresult context_retain(CUcontext* context, CUdevice device) override {
    return hook("context_retain", [&] { return api_.context_retain(context, device); });
  }
  CUresult context_release(CUdevice device) override {
    return hook("context_release", [&] { return api_.context_release(device); });
  }
  CUresult context_set(CUcontext context) override {
    return hook("context_set", [&] { return api_.context_set(context); });
  }
  CUresult memory_info(size_t* free_bytes, size_t* total_bytes) override {
    return hook("memory_info", [&] { return api_.memory_info(free_bytes, total_bytes); });
  }
  CUresult memory_alloc(CUdeviceptr* address, size_t bytes) override {
    return hook("memory_alloc", [&] { return api_.memory_alloc(address, bytes); });
  }
  CUresult memory_free(CUdeviceptr address) override {
    return hook("memory_free", [&] { return api_.memory_free(address); });
  }
  CUresult host_alloc(void** address, size_t bytes, unsigned flags) override {
    return hook("host_alloc", [&] { return api_.host_alloc(address, bytes, flags); });
  }
  CUresult host_free(void* address) override {
    return hook("host_free", [&] { return api_.host_free(address); });
  }
  CUresult host_device_pointer(CUdeviceptr* address, void* host) override {
    return hook("host_device_pointer", [&] { return api_.host_device_pointer(address, host); });
  }
  CUresult memory_granularity(size_t* bytes, const CUmemAllocationProp* properties) override {
    return hook("memory_granularity", [&] { return api_.memory_granularity(bytes, properties); });
  }
  CUresult address_reserve(CUdeviceptr* address, size_t bytes) override {
    return hook("address_reserve", [&] { return api_.address_reserve(address, bytes); });
  }
  CUresult address_free(CUdeviceptr address, size_t bytes) override {
    return hook("address_free", [&] { return api_.address_free(address, bytes); });
  }
  CUresult memory_create(CUmemGenericAllocationHandle* handle, size_t bytes,
                         const CUmemAllocationProp* properties) override {
    return hook("memory_create", [&] { return api_.memory_create(handle, bytes, properties); });
  }
  CUresult memory_release(CUmemGenericAllocationHandle handle) override {
    return hook("memory_release", [&] { return api_.memory_release(handle); });
  }
  CUresult memory_map(CUdeviceptr address, size_t bytes,
                      CUmemGenericAllocationHandle handle) override {
    return hook("memory_map", [&] { return api_.memory_map(address, bytes, handle); });
  }
  CUresult memory_unmap(CUdeviceptr address, size_t bytes) override {
    return hook("memory_unmap", [&] { return api_.memory_unmap(address, bytes); });
  }
  CUresult memory_access(CUdeviceptr address, size_t bytes,
                         const CUmemAccessDesc* access) override {
    return hook("memory_access", [&] { return api_.memory_access(address, bytes, access); });
  }
  CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes) override {
    return hook("copy_to_device", [&] { return api_.copy_to_device(to, from, bytes); });
  }
  CUresult copy_in_order(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) override {
    return hook("copy_in_order", [&] { return api_.copy_in_order(to, from, bytes, stream); });
  }
  CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes) override {
    return hook("copy_to_host", [&] { return api_.copy_to_host(to, from, bytes); });
  }
  CUresult memory_set(CUdeviceptr address, unsigned char value, size_t bytes) override {
    return hook("memory_set", [&] { return api_.memory_set(address, value, bytes); });
  }
  CUresult module_load(CUmodule* module, const void* image) override {
    return hook("module_load", [&] { return api_.module_load(module, image); });
  }
  CUresult module_unload(CUmodule module) override {
    return hook("module_unload", [&] { return api_.module_unload(module); });
  }
  CUresult module_function(CUfunction* function, CUmodule module, const char* name) override {
    return hook("module_function", [&] { return api_.module_function(function, module, name); });
  }
  CUresult function_set(CUfunction function, CUfunction_attribute attribute, int value) override {
    return hook("function_set", [&] { return api_.function_set(function, attribute, value); });
  }
  CUresult launch(const CudaLaunch& launch, CUstream stream) override {
    return hook("launch", [&] { return api_.launch(launch, stream); });
  }
  CUresult stream_create(CUstream* stream) override {
    return hook("stream_create", [&] { return api_.stream_create(stream); });
  }
  CUresult stream_destroy(CUstream stream) override {
    return hook("stream_destroy", [&] { return api_.stream_destroy(stream); });
  }
  CUresult stream_query(CUstream stream) override {
    return hook("stream_query", [&] { return query(stream); });
  }
  CUresult stream_synchronize(CUstream stream) override {
    return hook("stream_synchronize", [&] { return synchronize(stream); });
  }
  CUresult capture_begin(CUstream stream) override {
    return hook("capture_begin", [&] {
      capturing_ = true;
      return api_.capture_begin(stream);
    });
  }
  CUresult capture_end(CUstream stream, CUgraph* graph) override {
    const CUresult code = hook("capture_end", [&] { return api_.capture_end(stream, graph); });
    capturing_ = false;
    return code;
  }
  CUresult graph_nodes(CUgraph graph, size_t* count) override {
    return hook("graph_nodes", [&] { return api_.graph_nodes(graph, count); });
  }
  CUresult graph_instantiate(CUgraphExec* executable, CUgraph graph) override {
    return hook("graph_instantiate", [&] { return api_.graph_instantiate(executable, graph); });
  }
  CUresult graph_destroy(CUgraph graph) override {
    return hook("graph_destroy", [&] { return api_.graph_destroy(graph); });
  }
  CUresult graph_upload(CUgraphExec executable, CUstream stream) override {
    return hook("graph_upload", [&] { return api_.graph_upload(executable, stream); });
  }
  CUresult graph_launch(CUgraphExec executable, CUstream stream) override {
    return hook("graph_launch", [&] { return launch_graph(executable, stream); });
  }
  CUresult executable_destroy(CUgraphExec executable) override {
    return hook("executable_destroy", [&] { return api_.executable_destroy(executable); });
  }
  std::string error_name(CUresult code) override { return api_.error_name(code); }

 private:
  // A graph that was launched and has not run.
  struct Pending {
    CUgraphExec executable = nullptr;
    CUstream stream = nullptr;
    uint64_t queries_left = 0;
  };

  static bool frees(const std::string& method) {
    static const std::set<std::string> all = {
        "context_release", "memory_free",        "host_free",     "address_free",
        "memory_release",  "memory_unmap",       "module_unload", "stream_destroy",
        "graph_destroy",   "executable_destroy", "capture_end"};
    return all.contains(method);
  }
  static bool may_be_captured(const std::string& method) {
    static const std::set<std::string> all = {"launch", "copy_in_order", "capture_end",
                                              "module_function", "function_set"};
    return all.contains(method);
  }

  template <typename Call>
  CUresult hook(const std::string& method, Call call) {
    ++calls_;
    ++by_method_[method];
    if (capturing_ && !may_be_captured(method)) {
      findings_.insert(method + " while a stream is captured");
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (calls_ != fail_at_ && (!for_good_ || calls_ < fail_at_)) return call();
    if (failed_.empty()) failed_ = method;
    if (frees(method)) static_cast<void>(call());
    return failure_;
  }

  CUresult launch_graph(CUgraphExec executable, CUstream stream) {
    if (pending_) findings_.insert("graph_launch while another graph runs");
    if (late_ == 0) return api_.graph_launch(executable, stream);
    pending_ = {executable, stream, late_};
    return CUDA_SUCCESS;
  }
  CUresult query(CUstream stream) {
    if (pending_ && --pending_->queries_left > 0) return CUDA_ERROR_NOT_READY;
    return pending_ ? synchronize(stream) : api_.stream_query(stream);
  }
  CUresult synchronize(CUstream stream) {
    if (!pending_) return api_.stream_synchronize(stream);
    const Pending pending = *pending_;
    pending_.reset();
    return api_.graph_launch(pending.executable, pending.stream);
  }

  CudaApi& api_;
  uint64_t calls_ = 0;
  std::map<std::string, uint64_t> by_method_;
  uint64_t fail_at_ = UINT64_MAX;
  CUresult failure_ = CUDA_SUCCESS;
  bool for_good_ = false;
  std::string failed_;
  bool capturing_ = false;
  uint64_t late_ = 0;
  std::optional<Pending> pending_;
  std::set<std::string> findings_;
};

}  // namespace sluice
