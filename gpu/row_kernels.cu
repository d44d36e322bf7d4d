// SPDX-License-Identifier: Apache-2.0
// The kernels that work on rows by themselves: embed, which starts a batch, and layer_norm.

#include "gpu/rows.cuh"

namespace sluice::device {
namespace {

__device__ void embed_token(const EmbedParams& params, uint2 token, uint32_t at) {
  const size_t hidden = params.hidden;
  WarpRow row(params.hidden);
  row.add(params.words + token.x * hidden);
  row.add(params.positions + (token.y & 0xffffU) * hidden);
  row.add(params.types + (token.y >> 16) * hidden);
  row.store_normalised(params.scale, params.shift, params.epsilon, params.out + at * hidden);
}

}  // namespace
}  // namespace sluice::device

extern "C" __global__ void __launch_bounds__(256)
    embed(const __grid_constant__ sluice::EmbedParams params) {
  using namespace sluice::device;
  let_next_start();
  wait_for_previous();
  const uint32_t at = blockIdx.x * 8 + threadIdx.x / 32;
  // Loaded before it is known whether it is one; the block has room for a whole grid's.
  const uint2 token = reinterpret_cast<const uint2*>(params.tokens)[at];
  if (at < params.header->tokens) embed_token(params, token, at);
}

extern "C" __global__ void __launch_bounds__(256)
    layer_norm(const __grid_constant__ sluice::NormParams params) {
  using namespace sluice::device;
  let_next_start();
  wait_for_previous();
  const uint32_t at = blockIdx.x * 8 + threadIdx.x / 32;
  if (at >= params.header->tokens) return;
  WarpRow row(params.hidden);
  row.add(params.x + static_cast<size_t>(at) * params.hidden);
  row.store_normalised(params.scale, params.shift, params.epsilon,
                       params.out + static_cast<size_t>(at) * params.hidden);
}
