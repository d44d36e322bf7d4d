// SPDX-License-Identifier: Apache-2.0
// The kernels for AVX2 and FMA, eight lanes. The pragma stays on to the end of the file, so that
// the templates instantiated at its end are compiled for these instructions too; only headers
// without code of the standard library follow it.
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#include "backends/attention_simd.h"
#include "backends/gemm_simd.h"
#include "backends/kernels.h"
#include "backends/layer_norm_simd.h"

namespace sluice {
namespace {

struct Avx2 {
  static constexpr size_t kLanes = 8;
  static constexpr size_t kGemmRows = 6;
  static constexpr size_t kGemmVectors = 2;
};

}  // namespace

const Kernels& avx2_kernels() {
  static constexpr Kernels kKernels{
      "avx2",  Gemm<Avx2>::kPanel,  Gemm<Avx2>::run, nullptr, Attention<Avx2>::run,
      nullptr, LayerNorm<Avx2>::run};
  return kKernels;
}

}  // namespace sluice

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
