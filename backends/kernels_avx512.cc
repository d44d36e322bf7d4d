// SPDX-License-Identifier: Apache-2.0
// The kernels for AVX-512, sixteen lanes. The pragma stays on to the end of the file, so that the
// templates instantiated at its end are compiled for these instructions too; only headers without
// code of the standard library follow it.
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq")
#endif

#include "backends/attention_simd.h"
#include "backends/gemm_simd.h"
#include "backends/kernels.h"
#include "backends/layer_norm_simd.h"

namespace sluice {
namespace {

struct Avx512 {
  static constexpr size_t kLanes = 16;
  static constexpr size_t kGemmRows = 8;
  static constexpr size_t kGemmVectors = 3;
};

}  // namespace

const Kernels& avx512_kernels() {
  static constexpr Kernels kKernels{
      "avx512", Gemm<Avx512>::kPanel,  Gemm<Avx512>::run, nullptr, Attention<Avx512>::run,
      nullptr,  LayerNorm<Avx512>::run};
  return kKernels;
}

}  // namespace sluice

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
