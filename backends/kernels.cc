// SPDX-License-Identifier: Apache-2.0
#include "backends/kernels.h"

#include "backends/kernels_simd.h"
#include "base/assert.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sluice {
namespace {

struct Packing {};

}  // namespace

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

bool cpu_has_amx() {
#if defined(__x86_64__)
  constexpr unsigned kAmxBf16 = 1U << 22;
  constexpr unsigned kAmxTile = 1U << 24;
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kAmxBf16) != 0 && (d & kAmxTile) != 0;
#else
  return false;
#endif
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

size_t packed_values(const Kernels& kernels, size_t inputs, size_t outputs) {
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

void pack_weights_bf16(const Kernels& kernels, size_t inputs, size_t outputs, const float* weights,
                       uint16_t* packed) {
  ASSERT(inputs % 2 == 0);
  for (size_t first = 0; first < outputs; first += kernels.panel) {
    uint16_t* to = packed + first * inputs;
    for (size_t k = 0; k < inputs; k += 2) {
      for (size_t column = first; column < first + kernels.panel; ++column) {
        for (size_t i = k; i < k + 2; ++i) {
          *to++ =
              column < outputs ? round_to_bf16<Packing>(weights[column * inputs + i]) : uint16_t{0};
        }
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
