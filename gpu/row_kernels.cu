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
  const uint32_t texts = header->texts;
  const uint32_t tiles = header->tiles;
  for (uint32_t i = thread; i < tiles || i <= texts; i += threads) {
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

// The block is read over the bus, so the tokens are fetched before it is known which of them count.
extern "C" __global__ void __launch_bounds__(256)
    embed(const __grid_constant__ sluice::EmbedParams params) {
  using namespace sluice::device;
  __shared__ uint32_t tokens;
  let_next_start();
  wait_for_previous();
  if (blockIdx.x >= params.token_blocks) {
    copy_lists(params);
    return;
  }
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t first = (blockIdx.x * 8 + threadIdx.x / 32) * params.tokens_per_warp;
  uint2 mine = {0, 0};
  if (lane < params.tokens_per_warp && first + lane < params.tokens_max) {
    mine = reinterpret_cast<const uint2*>(params.block + params.layout.tokens)[first + lane];
  }
  if (threadIdx.x == 0) {
    tokens = reinterpret_cast<const sluice::BatchHeader*>(params.block)->tokens;
  }
  __syncthreads();
  for (uint32_t i = 0; i < params.tokens_per_warp && first + i < tokens; ++i) {
    const uint2 token = {__shfl_sync(0xffffffffU, mine.x, static_cast<int>(i)),
                         __shfl_sync(0xffffffffU, mine.y, static_cast<int>(i))};
    embed_token(params, token, first + i);
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
