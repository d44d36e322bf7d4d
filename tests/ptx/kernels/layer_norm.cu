// SPDX-License-Identifier: Apache-2.0
// Word and position rows added and normalised; mean pooling with a ticket: the block that comes
// last sets a flag for the host.
#include <cuda_fp16.h>

#include <cstdint>

namespace {

constexpr int kThreads = 128;

// The sum over the block, for all of its threads.
template <bool barriers>
__device__ float block_sum(float value, float* shared) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  if (barriers) __syncthreads();
  float sum = 0;
  for (int i = 0; i < kThreads / 32; ++i) sum += shared[i];
  return sum;
}

template <bool barriers>
__device__ void embed(const int* ids, const __half* words, const __half* positions,
                      const float* gamma, const float* beta, __half* out, int width) {
  extern __shared__ float row[];
  __shared__ float sums[2][kThreads / 32];
  const __half* word = words + static_cast<size_t>(ids[blockIdx.x]) * width;
  const __half* position = positions + static_cast<size_t>(blockIdx.x) * width;
  float sum = 0;
  for (int i = threadIdx.x; i < width; i += kThreads) {
    row[i] = __half2float(word[i]) + __half2float(position[i]);
    sum += row[i];
  }
  const float mean = block_sum<barriers>(sum, sums[0]) / width;
  float square = 0;
  for (int i = threadIdx.x; i < width; i += kThreads) {
    square += (row[i] - mean) * (row[i] - mean);
  }
  const float scale = rsqrtf(block_sum<barriers>(square, sums[1]) / width + 1e-12f);
  for (int i = threadIdx.x; i < width; i += kThreads) {
    out[static_cast<size_t>(blockIdx.x) * width + i] =
        __float2half_rn((row[i] - mean) * scale * gamma[i] + beta[i]);
  }
}

}  // namespace

extern "C" __global__ void embed_norm(const int* ids, const __half* words, const __half* positions,
                                      const float* gamma, const float* beta, __half* out,
                                      int width) {
  embed<true>(ids, words, positions, gamma, beta, out, width);
}
extern "C" __global__ void embed_wrong(const int* ids, const __half* words, const __half* positions,
                                       const float* gamma, const float* beta, __half* out,
                                       int width) {
  embed<false>(ids, words, positions, gamma, beta, out, width);
}

__device__ unsigned int tickets;

extern "C" __global__ void pool(const __half* rows, const int* starts, float* out, int width,
                                volatile unsigned int* flag, unsigned int epoch) {
  const int begin = starts[blockIdx.x];
  const int end = starts[blockIdx.x + 1];
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    float sum = 0;
    for (int row = begin; row < end; ++row)
      sum += __half2float(rows[static_cast<size_t>(row) * width + i]);
    out[static_cast<size_t>(blockIdx.x) * width + i] = sum / (end - begin);
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  __threadfence_system();
  if (atomicInc(&tickets, gridDim.x - 1) == gridDim.x - 1) *flag = epoch;
}

// A head of one hidden layer: tanh, then a number per label, then softmax over the labels.
extern "C" __global__ void classify(const float* in, const float* dense, const float* labels,
                                    float* out, int width, int count) {
  extern __shared__ float hidden[];
  const int lane = threadIdx.x;
  for (int i = lane; i < width; i += 32) {
    float sum = 0;
    for (int j = 0; j < width; ++j) sum += in[j] * dense[i * width + j];
    hidden[i] = tanhf(sum);
  }
  __syncwarp();
  float logit = -INFINITY;
  if (lane < count) {
    logit = 0;
    for (int j = 0; j < width; ++j) logit += hidden[j] * labels[lane * width + j];
  }
  float top = logit;
  for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, step));
  float share = __expf(logit - top);
  float total = share;
  for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(~0u, total, step);
  if (lane < count) out[lane] = share / total;
}
