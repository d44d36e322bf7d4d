// SPDX-License-Identifier: Apache-2.0
// The kernels for any machine: four lanes, which every compiler target we know has or can imitate.
#include "backends/attention_simd.h"
#include "backends/gemm_simd.h"
#include "backends/kernels.h"
#include "backends/layer_norm_simd.h"

namespace sluice {
namespace {

struct Generic {
  static constexpr size_t kLanes = 4;
  static constexpr size_t kGemmRows = 4;
  static constexpr size_t kGemmVectors = 2;
};

}  // namespace

const Kernels& generic_kernels() {
  static constexpr Kernels kKernels{
      "generic", Gemm<Generic>::kPanel,  Gemm<Generic>::run, nullptr, Attention<Generic>::run,
      nullptr,   LayerNorm<Generic>::run};
  return kKernels;
}

}  // namespace sluice
