// SPDX-License-Identifier: Apache-2.0
// The kernels that end a batch: one vector or one set of label values per text, stored to the
// host's memory, and after the last of them the flag the host waits for.

#include "gpu/rows.cuh"

namespace sluice::device {
namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kWidthMax = WarpRow::kWidthMax;

// The sum of `value` over the block, for every thread. `scratch` has eight floats, which nothing else
// uses; between two calls with the same there must be a barrier.
__device__ float block_sum(float value, float* scratch) {
  const float sum = warp_sum(value);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = sum;
  __syncthreads();
  float all = 0;
#pragma unroll
  for (uint32_t i = 0; i < kThreads / 32; ++i) all += scratch[i];
  return all;
}
// The greatest, likewise.
__device__ float block_max(float value, float* scratch) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffU, value, distance));
  }
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
#pragma unroll
  for (uint32_t i = 0; i < kThreads / 32; ++i) value = fmaxf(value, scratch[i]);
  return value;
}

// Applies `finish` to values[0, width) and stores them to `out`. Between two calls there must be a
// barrier. `scratch` has sixteen floats.
__device__ void finish_values(float* values, uint32_t width, GpuFinish finish, float* out,
                              float* scratch) {
  float factor = 1;
  float greatest = 0;
  if (finish == GpuFinish::kUnit) {
    float squares = 0;
    for (uint32_t i = threadIdx.x; i < width; i += kThreads) squares += values[i] * values[i];
    factor = 1.0F / fmaxf(sqrtf(block_sum(squares, scratch)), 1e-12F);
  } else if (finish == GpuFinish::kSoftmax) {
    float mine = -INFINITY;
    for (uint32_t i = threadIdx.x; i < width; i += kThreads) mine = fmaxf(mine, values[i]);
    greatest = block_max(mine, scratch);
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < width; i += kThreads) sum += expf(values[i] - greatest);
    factor = 1.0F / block_sum(sum, scratch + 8);
  }
  for (uint32_t i = threadIdx.x; i < width; i += kThreads) {
    float value = values[i];
    if (finish == GpuFinish::kSoftmax) value = expf(value - greatest);
    if (finish == GpuFinish::kSigmoid) value = 1.0F / (1.0F + expf(-value));
    out[i] = value * factor;
  }
}

// values[0, hidden) = the mean of rows [first, end) of x. `parts` has kThreads * 8 floats.
__device__ void mean_rows(const OutputParams& params, uint32_t first, uint32_t end, float* parts,
                          float* values) {
  const uint32_t columns = params.hidden / 8;
  const uint32_t groups = kThreads / columns;
  const uint32_t group = threadIdx.x / columns;
  const uint32_t column = threadIdx.x % columns;
  float sums[8] = {};
  if (group < groups) {
#pragma unroll 4
    for (uint32_t row = first + group; row < end; row += groups) {
      const uint4 bits = *reinterpret_cast<const uint4*>(
          params.x + static_cast<size_t>(row) * params.hidden + column * 8);
      const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 pair = unpack(words[j]);
        sums[2 * j] += pair.x;
        sums[2 * j + 1] += pair.y;
      }
    }
#pragma unroll
    for (uint32_t j = 0; j < 8; ++j) parts[group * params.hidden + column * 8 + j] = sums[j];
  }
  __syncthreads();
  const float factor = 1.0F / static_cast<float>(end - first);
  for (uint32_t i = threadIdx.x; i < params.hidden; i += kThreads) {
    float sum = 0;
    for (uint32_t g = 0; g < groups; ++g) sum += parts[g * params.hidden + i];
    values[i] = sum * factor;
  }
  __syncthreads();
}

__device__ void load_row(const OutputParams& params, uint32_t row, float* values) {
  const __half* from =
      reinterpret_cast<const __half*>(params.x) + static_cast<size_t>(row) * params.hidden;
  for (uint32_t i = threadIdx.x; i < params.hidden; i += kThreads) values[i] = __half2float(from[i]);
  __syncthreads();
}

// to[0, outputs) = weight * from + bias; a warp per output.
__device__ void small_product(const HalfBits* weight, const float* bias, const float* from,
                              uint32_t inputs, uint32_t outputs, bool tanh, float* to) {
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t output = threadIdx.x / 32; output < outputs; output += kThreads / 32) {
    const uint32_t* row =
        reinterpret_cast<const uint32_t*>(weight + static_cast<size_t>(output) * inputs);
    float sum = 0;
#pragma unroll 4
    for (uint32_t i = lane; i < inputs / 2; i += 32) {
      const float2 pair = unpack(row[i]);
      sum += pair.x * from[2 * i] + pair.y * from[2 * i + 1];
    }
    sum = warp_sum(sum) + bias[output];
    if (lane == 0) to[output] = tanh ? tanhf(sum) : sum;
  }
  __syncthreads();
}

// After all of this block's stores: the last block of the grid to come here sets the flag.
__device__ void finish_batch(const OutputParams& params, uint32_t epoch) {
  __syncthreads();
  if (threadIdx.x != 0) return;
  __threadfence_system();  // for all of the block's stores, which the barrier has put before it
  if (atomicAdd(params.ticket, 1U) != gridDim.x - 1) return;
  *params.ticket = 0;
  __threadfence_system();  // for the other blocks' stores, which their tickets have put before it
  *reinterpret_cast<volatile uint32_t*>(params.flag) = epoch;
}

}  // namespace
}  // namespace sluice::device

extern "C" __global__ void __launch_bounds__(256)
    pool(const __grid_constant__ sluice::OutputParams params) {
  using namespace sluice::device;
  __shared__ float parts[kThreads * 8];
  __shared__ float values[kWidthMax];
  __shared__ float scratch[16];
  let_next_start();
  wait_for_previous();
  const sluice::BatchHeader header = *params.header;
  for (uint32_t text = blockIdx.x; text < header.texts; text += gridDim.x) {
    const uint32_t first = params.starts[text];
    if (header.output == sluice::GpuOutput::kMean) {
      mean_rows(params, first, params.starts[text + 1], parts, values);
    } else {
      load_row(params, first, values);
    }
    finish_values(values, header.width, header.finish,
                  params.out + static_cast<size_t>(text) * header.width, scratch);
  }
  finish_batch(params, header.epoch);
}

extern "C" __global__ void __launch_bounds__(256)
    classify(const __grid_constant__ sluice::OutputParams params) {
  using namespace sluice::device;
  __shared__ float values[kWidthMax];
  __shared__ float dense[kWidthMax];
  __shared__ float labels[kWidthMax];
  __shared__ float scratch[16];
  let_next_start();
  wait_for_previous();
  const sluice::BatchHeader header = *params.header;
  for (uint32_t text = blockIdx.x; text < header.texts; text += gridDim.x) {
    load_row(params, params.starts[text], values);
    const float* from = values;
    if (params.dense != nullptr) {
      small_product(params.dense, params.dense_bias, values, params.hidden, params.hidden, true,
                    dense);
      from = dense;
    }
    small_product(params.classifier, params.classifier_bias, from, params.hidden, params.labels,
                  false, labels);
    finish_values(labels, params.labels, header.finish,
                  params.out + static_cast<size_t>(text) * params.labels, scratch);
  }
  finish_batch(params, header.epoch);
}
