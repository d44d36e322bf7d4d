// SPDX-License-Identifier: Apache-2.0
#include "backends/kernels.h"

#include "backends/kernels_simd.h"

namespace sluice {

CpuLevel cpu_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  if (avx512 && __builtin_cpu_supports("avx512bf16")) return CpuLevel::kAvx512Bf16;
  if (avx512) return CpuLevel::kAvx512;
  if (avx2) return CpuLevel::kAvx2;
#endif
  return CpuLevel::kGeneric;
}

const Kernels& kernels_of(CpuLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case CpuLevel::kAvx512Bf16:
      return avx512_bf16_kernels();
    case CpuLevel::kAvx512:
      return avx512_kernels();
    case CpuLevel::kAvx2:
      return avx2_kernels();
#endif
    default:
      return generic_kernels();
  }
}

size_t packed_floats(const Kernels& kernels, size_t inputs, size_t outputs) {
  return (outputs + kernels.panel - 1) / kernels.panel * kernels.panel * inputs;
}

void pack_weights(const Kernels& kernels, size_t inputs, size_t outputs, const float* weights,
                  float* packed) {
  for (size_t first = 0; first < outputs; first += kernels.panel) {
    float* to = packed + first * inputs;
    for (size_t k = 0; k < inputs; ++k) {
      for (size_t column = first; column < first + kernels.panel; ++column) {
        *to++ = column < outputs ? weights[column * inputs + k] : 0.0F;
      }
    }
  }
}

size_t attention_scratch_bytes(size_t tokens, size_t head_width) {
  const size_t padded = (tokens + kKeyPadding - 1) / kKeyPadding * kKeyPadding;
  // Keys and values of one head, and the scores of one block of queries.
  return (2 * padded * head_width + kQueryBlock * padded) * sizeof(float);
}

}  // namespace sluice
