// SPDX-License-Identifier: Apache-2.0
// The attention kernels, one per width of a head.

#include "gpu/attention.cuh"

#define SLUICE_ATTENTION(HEAD)                                                         \
  extern "C" __global__ void __launch_bounds__(128)                                    \
      attention_##HEAD(const __grid_constant__ sluice::AttentionParams params) {       \
    using Block = sluice::device::AttentionBlock<HEAD>;                                \
    __shared__ __align__(16) unsigned char shared[Block::kSharedBytes];                \
    Block(params, shared).run();                                                       \
  }

SLUICE_ATTENTION(32)
SLUICE_ATTENTION(64)
