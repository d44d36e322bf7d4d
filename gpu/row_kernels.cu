// SPDX-License-Identifier: Apache-2.0
// The kernels that work on rows by themselves: embed, which starts a batch, and layer_norm.

#include "gpu/rows.cuh"

namespace sluice::device {
namespace {

// Copies what the later kernels need, all but the tokens, over the blocks after the first ones, so
// that nobody waits for both this and a token.
__device__ void copy_lists(const EmbedParams& params) {
  const uint32_t thread = (blockIdx.x - params.token_blocks) * blockDim.x + threadIdx.x;
  const uint32_t threads = (gridDim.x - params.token_blocks) * blockDim.x;
  const BatchHeader* header = reinterpret_cast<const BatchHeader*>(params.block);
  if (thread < sizeof(BatchHeader) / 4) {
    reinterpret_cast<uint32_t*>(params.copy)[thread] =
        reinterpret_cast<const uint32_t*>(params.block)[thread];
  }
  const uint4* tiles_from = reinterpret_cast<const uint4*>(params.block + params.layout.tiles);
  uint4* tiles_to = reinterpret_cast<uint4*>(params.copy + params.layout.tiles);
  const uint32_t* starts_from =
      reinterpret_cast<const uint32_t*>(params.block + params.layout.starts);
  uint32_t* starts_to = reinterpret_cast<uint32_t*>(params.copy + params.layout.starts);
  // The first entries are fetched before it is known how many there are: one way over the bus less.
  uint4 tile = {0, 0, 0, 0};
  uint32_t start = 0;
  if (thread < params.tokens_max) {
    tile = tiles_from[thread];
    start = starts_from[thread];
  }
  const uint32_t texts = header->texts;
  const uint32_t tiles = header->tiles;
  if (thread < tiles) tiles_to[thread] = tile;
  if (thread <= texts) starts_to[thread] = thread < params.tokens_max ? start : starts_from[thread];
  for (uint32_t i = thread + threads; i < tiles || i <= texts; i += threads) {
    if (i < tiles) tiles_to[i] = tiles_from[i];
    if (i <= texts) starts_to[i] = starts_from[i];
  }
}

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

// The host's memory is read over the bus, so tokens are fetched before it is known which of them
// count.
extern "C" __global__ void __launch_bounds__(256)
    embed(const __grid_constant__ sluice::EmbedParams params) {
  using namespace sluice::device;
  __shared__ uint32_t count;
  __shared__ uint2 tokens[256];
  let_next_start();
  wait_for_previous();
  if (blockIdx.x >= params.token_blocks) {
    copy_lists(params);
    return;
  }
  const uint32_t first = blockIdx.x * 8 * params.tokens_per_warp;
  // Side by side, for the bus has few and large requests.
  if (threadIdx.x < 8 * params.tokens_per_warp && first + threadIdx.x < params.tokens_max) {
    tokens[threadIdx.x] =
        reinterpret_cast<const uint2*>(params.block + params.layout.tokens)[first + threadIdx.x];
  }
  if (threadIdx.x == blockDim.x - 1) {
    count = reinterpret_cast<const sluice::BatchHeader*>(params.block)->tokens;
  }
  __syncthreads();
  for (uint32_t i = threadIdx.x / 32; i < 8 * params.tokens_per_warp && first + i < count; i += 8) {
    embed_token(params, tokens[i], first + i);
  }
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
