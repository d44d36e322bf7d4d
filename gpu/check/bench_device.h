// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the checks on a real GPU share: a device with our kernels, buffers with known contents, and
// the comparison with a reference in double precision.

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/prng.h"
#include "gpu/device.h"
#include "gpu/kernel_params.h"
#include "gpu/memory.h"
#include "gpu/plan.h"
#include "gpu/weights.h"

namespace sluice::check {

// Ends the program, with the error, unless `result` has a value.
template <typename T>
T must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result).value();
}

// The value of a 16-bit float.
inline float float_of(HalfBits bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

// Seconds on a clock that only goes forward.
inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Random numbers of a normal-like spread, the same in every run.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : random_(seed) {}
  // One number around zero.
  double next(double spread) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<double>(random_.between(-10000, 10000)) * 1e-4;
    return sum * spread * 0.87;
  }
  // An integer, both ends included.
  int64_t between(int64_t low, int64_t high) { return random_.between(low, high); }
  // Many around zero.
  std::vector<HalfBits> halves(size_t count, double spread) {
    std::vector<HalfBits> values(count);
    for (HalfBits& value : values) value = half_of(static_cast<float>(next(spread)));
    return values;
  }
  // Many around `middle`.
  std::vector<float> floats(size_t count, double middle, double spread) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(middle + next(spread));
    return values;
  }

 private:
  Prng random_;
};

// A device with kernels, and a stream.
struct Bench {
  CudaApi* api;
  std::unique_ptr<GpuDevice> device;
  CUstream stream = nullptr;

  // Opens device 0. `driver` must outlive the bench.
  Bench(CudaApi& driver, std::span<const GpuImage> images)
      : api(&driver), device(must(GpuDevice::open(driver, 0, images))) {
    must(cuda_result(*api, api->stream_create(&stream), "making a stream"));
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() { static_cast<void>(api->stream_destroy(stream)); }

  // A buffer on the device with these contents.
  template <typename T>
  DeviceMemory upload(const std::vector<T>& from) {
    DeviceMemory to = must(DeviceMemory::make(*api, from.size() * sizeof(T) + 16, "a buffer"));
    must(cuda_result(*api, api->copy_to_device(to.address(), from.data(), from.size() * sizeof(T)),
                     "copying"));
    return to;
  }
  // What a buffer holds.
  template <typename T>
  std::vector<T> download(const DeviceMemory& from, size_t count) {
    std::vector<T> to(count);
    must(cuda_result(*api, api->copy_to_host(to.data(), from.address(), count * sizeof(T)),
                     "copying"));
    return to;
  }
  // Runs a kernel.
  template <typename Params>
  void launch(const KernelPlan& plan, Params params) {
    CudaLaunch launch;
    launch.function = must(device->kernel(plan.kernel, plan.shared_bytes));
    launch.grid_x = plan.grid_x;
    launch.grid_y = plan.grid_y;
    launch.threads = plan.threads;
    launch.shared_bytes = plan.shared_bytes;
    launch.cluster_x = plan.cluster_x;
    launch.early = device->traits().clusters();
    launch.parameters = &params;
    must(cuda_result(*api, api->launch(launch, stream), plan.kernel.c_str()));
  }
  // Until all that was launched has run.
  void wait() { must(cuda_result(*api, api->stream_synchronize(stream), "running")); }

  // Microseconds of one launch among many in a graph.
  template <typename Params>
  double time(const KernelPlan& plan, Params params, int launches) {
    must(cuda_result(*api, api->capture_begin(stream), "capturing"));
    for (int i = 0; i < launches; ++i) launch(plan, params);
    CUgraph graph = nullptr;
    CUgraphExec executable = nullptr;
    must(cuda_result(*api, api->capture_end(stream, &graph), "capturing"));
    must(cuda_result(*api, api->graph_instantiate(&executable, graph), "instantiating"));
    double best = 1e9;
    for (int i = 0; i < 6; ++i) {
      const double start = seconds_now();
      must(cuda_result(*api, api->graph_launch(executable, stream), "launching"));
      wait();
      best = std::min(best, seconds_now() - start);
    }
    must(cuda_result(*api, api->executable_destroy(executable), "destroying"));
    must(cuda_result(*api, api->graph_destroy(graph), "destroying"));
    return best * 1e6 / launches;
  }
};

// Distance of `got` from `wanted` over the length of `wanted`; NaN is infinitely far.
template <typename T>
double relative(const std::vector<T>& got, const std::vector<double>& wanted, size_t count) {
  double distance = 0;
  double length = 0;
  for (size_t i = 0; i < count; ++i) {
    double value = 0;
    if constexpr (sizeof(T) == 2) {
      value = static_cast<double>(float_of(got[i]));
    } else {
      value = static_cast<double>(got[i]);
    }
    if (std::isnan(value)) return INFINITY;
    distance += (value - wanted[i]) * (value - wanted[i]);
    length += wanted[i] * wanted[i];
  }
  return std::sqrt(distance / length);
}

// Counts checks and says which failed.
class Report {
 public:
  // One check: fails if the error is greater, or not a number.
  void check(const std::string& name, double error, double error_max) {
    ++checks_;
    worst_ = std::max(worst_, error);
    if (error <= error_max) return;
    ++failures_;
    std::printf("FAILED %s: error %.3g, allowed %.3g\n", name.c_str(), error, error_max);
  }
  // One that is true or false.
  void check(const std::string& name, bool good) { check(name, good ? 0 : INFINITY, 0); }
  int checks() const { return checks_; }
  int failures() const { return failures_; }
  double worst() const { return worst_; }

 private:
  int checks_ = 0;
  int failures_ = 0;
  double worst_ = 0;
};

// How much is checked: all sizes, fewer, or what an interpreter does in seconds.
enum class Effort { kFull, kQuick, kTiny };

// The products: every tile of every kernel.
void check_products(Bench& bench, Report& report, Effort effort);
// Those that normalise their rows first.
void check_normed(Bench& bench, Report& report, Effort effort);
// Embedding and layer norm.
void check_rows(Bench& bench, Report& report, Effort effort);
// Attention.
void check_attention(Bench& bench, Report& report, Effort effort);
// Pooling and the classifier's head.
void check_outputs(Bench& bench, Report& report, Effort effort);
// Prints what each product's kernel with `only` in its name takes at many sizes.
void time_products(Bench& bench, const std::string& only);
// Prints what every kernel takes.
void time_kernels(Bench& bench);

}  // namespace sluice::check
