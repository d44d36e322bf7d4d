// SPDX-License-Identifier: Apache-2.0
#include "tests/gpu_emulated.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice {
namespace {

// What a default block may have without function_set().
constexpr size_t kSharedDefault = 48 * 1024;
constexpr size_t kGranularity = 2 << 20;

template <typename T>
T handle(uint64_t& next) {
  return reinterpret_cast<T>(next++ << 4U);
}

}  // namespace

EmulatedCuda::~EmulatedCuda() {
  for (const auto& [host, address] : pinned_) ::operator delete(host, std::align_val_t{4096});
}

size_t EmulatedCuda::alive() const {
  return blocks_.size() + pinned_.size() + ranges_.size() + handles_.size() + modules_.size() +
         graphs_.size() + executables_.size() + streams_.size() + static_cast<size_t>(contexts_);
}

CUresult EmulatedCuda::result(const char* method) {
  const auto failure = failures_.find(method);
  if (failure == failures_.end()) return CUDA_SUCCESS;
  if (failure->second.calls_left > 1) {
    --failure->second.calls_left;
    return CUDA_SUCCESS;
  }
  return failure->second.code;
}

CUresult EmulatedCuda::device_count(int* count) {
  *count = machine_.devices;
  return result("device_count");
}

CUresult EmulatedCuda::device_get(CUdevice* device, int index) {
  *device = index;
  if (index == machine_.lost_device) {
    fail("graph_launch", CUDA_ERROR_ILLEGAL_ADDRESS, machine_.launches_good + 1);
  }
  return index < machine_.devices ? result("device_get") : CUDA_ERROR_INVALID_DEVICE;
}

CUresult EmulatedCuda::device_name(char* name, int size, CUdevice) {
  std::snprintf(name, static_cast<size_t>(size), "emulated %d", machine_.capability);
  return result("device_name");
}

CUresult EmulatedCuda::device_attribute(int* value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = machine_.capability / 10;
      break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = machine_.capability % 10;
      break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = machine_.multiprocessors;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = machine_.shared_max;
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  return result("device_attribute");
}

CUresult EmulatedCuda::context_retain(CUcontext* context, CUdevice) {
  const CUresult code = result("context_retain");
  if (code != CUDA_SUCCESS) return code;
  ++contexts_;
  *context = reinterpret_cast<CUcontext>(16);
  return code;
}

CUresult EmulatedCuda::context_release(CUdevice) {
  --contexts_;
  return CUDA_SUCCESS;
}

CUresult EmulatedCuda::context_set(CUcontext) { return result("context_set"); }

CUresult EmulatedCuda::memory_info(size_t* free_bytes, size_t* total_bytes) {
  *free_bytes = machine_.memory_bytes - used_;
  *total_bytes = machine_.memory_bytes;
  return result("memory_info");
}

CUresult EmulatedCuda::use(uint64_t bytes) {
  if (bytes > machine_.memory_bytes - used_) return CUDA_ERROR_OUT_OF_MEMORY;
  used_ += bytes;
  return CUDA_SUCCESS;
}

CUresult EmulatedCuda::memory_alloc(CUdeviceptr* address, size_t bytes) {
  CUresult code = result("memory_alloc");
  if (code == CUDA_SUCCESS) code = use(bytes);
  if (code != CUDA_SUCCESS) return code;
  *address = memory_.allocate(bytes, {.name = "device memory"});
  blocks_[*address] = bytes;
  return code;
}

CUresult EmulatedCuda::memory_free(CUdeviceptr address) {
  const auto block = blocks_.find(address);
  if (block == blocks_.end()) return CUDA_ERROR_INVALID_VALUE;
  used_ -= block->second;
  blocks_.erase(block);
  memory_.release(address);
  return CUDA_SUCCESS;
}

CUresult EmulatedCuda::host_alloc(void** address, size_t bytes, unsigned) {
  const CUresult code = result("host_alloc");
  if (code != CUDA_SUCCESS) return code;
  *address = ::operator new(bytes, std::align_val_t{4096});
  pinned_[*address] =
      memory_.map(static_cast<std::byte*>(*address), bytes,
                  {.name = "pinned memory", .alignment = 4096, .host_watches = true});
  return code;
}

CUresult EmulatedCuda::host_free(void* address) {
  const auto found = pinned_.find(address);
  if (found == pinned_.end()) return CUDA_ERROR_INVALID_VALUE;
  memory_.release(found->second);
  pinned_.erase(found);
  ::operator delete(address, std::align_val_t{4096});
  return CUDA_SUCCESS;
}

CUresult EmulatedCuda::host_device_pointer(CUdeviceptr* address, void* host) {
  const auto found = pinned_.find(host);
  if (found == pinned_.end()) return CUDA_ERROR_INVALID_VALUE;
  *address = found->second;
  return result("host_device_pointer");
}

CUresult EmulatedCuda::memory_granularity(size_t* bytes, const CUmemAllocationProp*) {
  *bytes = kGranularity;
  return result("memory_granularity");
}

CUresult EmulatedCuda::address_reserve(CUdeviceptr* address, size_t bytes) {
  const CUresult code = result("address_reserve");
  if (code != CUDA_SUCCESS) return code;
  Range range;
  range.bytes.resize(bytes, std::byte{0xff});
  *address = memory_.map(range.bytes.data(), bytes, {.name = "reserved addresses"});
  ranges_[*address] = std::move(range);
  return code;
}

CUresult EmulatedCuda::address_free(CUdeviceptr address, size_t) {
  const auto range = ranges_.find(address);
  if (range == ranges_.end() || range->second.mapped) return CUDA_ERROR_INVALID_VALUE;
  memory_.release(address);
  ranges_.erase(range);
  return CUDA_SUCCESS;
}

CUresult EmulatedCuda::memory_create(CUmemGenericAllocationHandle* handle, size_t bytes,
                                     const CUmemAllocationProp*) {
  CUresult code = result("memory_create");
  if (bytes % kGranularity != 0) return CUDA_ERROR_INVALID_VALUE;
  if (code == CUDA_SUCCESS) code = use(bytes);
  if (code != CUDA_SUCCESS) return code;
  *handle = next_handle_++;
  handles_[*handle] = bytes;
  return code;
}

CUresult EmulatedCuda::memory_release(CUmemGenericAllocationHandle handle) {
  const auto found = handles_.find(handle);
  if (found == handles_.end()) return CUDA_ERROR_INVALID_VALUE;
  used_ -= found->second;
  handles_.erase(found);
  return CUDA_SUCCESS;
}

CUresult EmulatedCuda::memory_map(CUdeviceptr address, size_t bytes,
                                  CUmemGenericAllocationHandle handle) {
  const CUresult code = result("memory_map");
  const auto range = ranges_.find(address);
  if (code != CUDA_SUCCESS) return code;
  if (range == ranges_.end() || range->second.mapped || handles_.at(handle) != bytes) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  range->second.mapped = true;
  return code;
}

CUresult EmulatedCuda::memory_unmap(CUdeviceptr address, size_t) {
  const auto range = ranges_.find(address);
  if (range == ranges_.end() || !range->second.mapped) return CUDA_ERROR_INVALID_VALUE;
  range->second.mapped = false;
  std::ranges::fill(range->second.bytes, std::byte{0xff});  // what it held is gone
  return result("memory_unmap");
}

CUresult EmulatedCuda::memory_access(CUdeviceptr address, size_t, const CUmemAccessDesc*) {
  return ranges_.contains(address) ? result("memory_access") : CUDA_ERROR_INVALID_VALUE;
}

CUresult EmulatedCuda::copy_to_device(CUdeviceptr to, const void* from, size_t bytes) {
  if (memory_.write(to, from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return result("copy_to_device");
}

CUresult EmulatedCuda::copy_in_order(CUdeviceptr to, const void* from, size_t bytes,
                                     CUstream stream) {
  const CUresult code = result("copy_in_order");
  if (code != CUDA_SUCCESS) return code;
  Recorded recorded;
  recorded.to = to;
  recorded.from = from;
  recorded.bytes = bytes;
  if (Recording* recording = streams_.at(stream).get(); recording != nullptr) {
    recording->push_back(std::move(recorded));
    return code;
  }
  return run(recorded);
}

CUresult EmulatedCuda::copy_to_host(void* to, CUdeviceptr from, size_t bytes) {
  if (memory_.read(from, to, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return result("copy_to_host");
}

CUresult EmulatedCuda::memory_set(CUdeviceptr address, unsigned char value, size_t bytes) {
  if (memory_.fill(address, value, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return result("memory_set");
}

CUresult EmulatedCuda::module_load(CUmodule* module, const void* image) {
  CUresult code = result("module_load");
  if (code != CUDA_SUCCESS) return code;
  Result<ptx::Module> loaded = ptx::Module::load(static_cast<const char*>(image), memory_);
  if (!loaded.ok()) {
    findings_.insert(loaded.error().message);
    return CUDA_ERROR_INVALID_PTX;
  }
  *module = handle<CUmodule>(next_handle_);
  modules_[*module] = std::make_unique<ptx::Module>(std::move(loaded).value());
  return code;
}

CUresult EmulatedCuda::module_unload(CUmodule module) {
  return modules_.erase(module) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult EmulatedCuda::module_function(CUfunction* function, CUmodule module, const char* name) {
  const ptx::Kernel* kernel = modules_.at(module)->find(name);
  if (kernel == nullptr || kernel->name != name) return CUDA_ERROR_NOT_FOUND;
  // A handle only: nothing looks behind it but this class.
  *function = reinterpret_cast<CUfunction>(const_cast<ptx::Kernel*>(kernel));
  return result("module_function");
}

CUresult EmulatedCuda::function_set(CUfunction function, CUfunction_attribute attribute,
                                    int value) {
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (value > machine_.shared_max) return CUDA_ERROR_INVALID_VALUE;
    shared_allowed_[function] = value;
  }
  return result("function_set");
}

CUresult EmulatedCuda::launch(const CudaLaunch& launch, CUstream stream) {
  const CUresult code = result("launch");
  if (code != CUDA_SUCCESS) return code;
  const auto* kernel = reinterpret_cast<const ptx::Kernel*>(launch.function);
  const auto allowed = shared_allowed_.find(launch.function);
  const size_t shared_max = std::max(
      kSharedDefault, allowed != shared_allowed_.end() ? static_cast<size_t>(allowed->second) : 0);
  if (launch.shared_bytes > shared_max || launch.threads > 1024 ||
      launch.grid_x % launch.cluster_x != 0 || (launch.cluster_x > 1 && machine_.capability < 90)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  Recorded recorded;
  recorded.kernel = kernel;
  recorded.shape.grid = {launch.grid_x, launch.grid_y, 1};
  recorded.shape.block = {launch.threads, 1, 1};
  recorded.shape.cluster = {launch.cluster_x, 1, 1};
  recorded.early = launch.early;
  recorded.shape.shared_dynamic_bytes = launch.shared_bytes;
  const auto* bytes = static_cast<const std::byte*>(launch.parameters);
  recorded.parameters.assign(bytes, bytes + kernel->parameter_bytes);
  if (Recording* recording = streams_.at(stream).get(); recording != nullptr) {
    recording->push_back(std::move(recorded));
    return CUDA_SUCCESS;
  }
  return run(recorded);
}

CUresult EmulatedCuda::run(const Recorded& recorded) {
  if (recorded.kernel == nullptr) {
    const bool failed = memory_.write(recorded.to, recorded.from, recorded.bytes).has_value();
    return failed ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  }
  const bool unbacked =
      std::ranges::any_of(ranges_, [](const auto& range) { return !range.second.mapped; });
  if (unbacked) return CUDA_ERROR_ILLEGAL_ADDRESS;
  ++kernels_run_;
  ptx::LaunchOptions options;
  options.check_memory = machine_.check_memory;
  options.early = recorded.early;
  const Result<ptx::LaunchReport> report =
      ptx::launch(memory_, *recorded.kernel, recorded.shape, recorded.parameters, options);
  if (!report.ok()) {
    findings_.insert(recorded.kernel->name + ": " + report.error().message);
    return CUDA_ERROR_LAUNCH_FAILED;
  }
  for (const ptx::Finding& finding : report.value().findings) findings_.insert(describe(finding));
  if (counted_) counted_(recorded.kernel->name, report.value().counters);
  return report.value().completed ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

CUresult EmulatedCuda::stream_create(CUstream* stream) {
  const CUresult code = result("stream_create");
  if (code != CUDA_SUCCESS) return code;
  *stream = handle<CUstream>(next_handle_);
  streams_[*stream] = nullptr;
  return code;
}

CUresult EmulatedCuda::stream_destroy(CUstream stream) {
  return streams_.erase(stream) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult EmulatedCuda::stream_query(CUstream) { return result("stream_query"); }

CUresult EmulatedCuda::stream_synchronize(CUstream) { return result("stream_synchronize"); }

CUresult EmulatedCuda::capture_begin(CUstream stream) {
  const CUresult code = result("capture_begin");
  if (code != CUDA_SUCCESS) return code;
  streams_.at(stream) = std::make_unique<Recording>();
  return code;
}

CUresult EmulatedCuda::capture_end(CUstream stream, CUgraph* graph) {
  *graph = handle<CUgraph>(next_handle_);
  graphs_[*graph] = std::move(streams_.at(stream));
  return result("capture_end");
}

CUresult EmulatedCuda::graph_nodes(CUgraph graph, size_t* count) {
  *count = graphs_.at(graph)->size();
  return result("graph_nodes");
}

CUresult EmulatedCuda::graph_instantiate(CUgraphExec* executable, CUgraph graph) {
  const CUresult code = result("graph_instantiate");
  if (code != CUDA_SUCCESS) return code;
  *executable = handle<CUgraphExec>(next_handle_);
  executables_[*executable] = std::make_unique<Recording>(*graphs_.at(graph));
  return code;
}

CUresult EmulatedCuda::graph_destroy(CUgraph graph) {
  return graphs_.erase(graph) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult EmulatedCuda::graph_upload(CUgraphExec, CUstream) { return result("graph_upload"); }

CUresult EmulatedCuda::graph_launch(CUgraphExec executable, CUstream) {
  CUresult code = result("graph_launch");
  for (const Recorded& recorded : *executables_.at(executable)) {
    if (code == CUDA_SUCCESS) code = run(recorded);
  }
  return code;
}

CUresult EmulatedCuda::executable_destroy(CUgraphExec executable) {
  return executables_.erase(executable) == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

std::string EmulatedCuda::error_name(CUresult code) {
  return "CUDA_ERROR_" + std::to_string(static_cast<int>(code));
}

}  // namespace sluice
