// SPDX-License-Identifier: Apache-2.0
// What CUDA C++ compiles to beside arithmetic: calls, tables, local arrays, votes, atomics,
// asserts.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cassert>
#include <cstdint>
#include <cstdio>

__constant__ float weights[4] = {1, 2, 3, 4};
__device__ int counter = 5;

// Reverses a block's values through dynamic shared memory.
extern "C" __global__ void reverse(float* x, int n) {
  extern __shared__ float values[];
  const int t = threadIdx.x;
  values[t] = x[t] * weights[t & 3];
  __syncthreads();
  x[t] = values[n - 1 - t];
  if (t == 0) atomicAdd(&counter, 2);
}

__device__ __noinline__ float apart(float a, int n) {
  float sum = 0;
  for (int i = 0; i < n; ++i) sum += a * i;
  return sum;
}
extern "C" __global__ void call_apart(float* x) {
  x[threadIdx.x] = apart(x[threadIdx.x], threadIdx.x);
}

extern "C" __global__ void local_array(int* x, int k) {
  int values[16];
  for (int i = 0; i < 16; ++i) values[i] = x[i] * i;
  x[threadIdx.x + 16] = values[(threadIdx.x * k) & 15];
}

extern "C" __global__ void choose(int* x) {
  const int v = x[threadIdx.x];
  int r = -1;
  switch (v) {
    case 0:
      r = 30;
      break;
    case 1:
      r = v ^ 77;
      break;
    case 2:
      r = v * v + 100;
      break;
    case 3:
      r = __popc(v);
      break;
    case 4:
      r = v << 3;
      break;
    case 5:
      r = __clz(v);
      break;
    case 6:
      r = __brev(v);
      break;
    default:
      break;
  }
  x[threadIdx.x] = r;
}

extern "C" __global__ void bfloats(__nv_bfloat162* x, const __nv_bfloat162* y) {
  const int t = threadIdx.x;
  const float2 a = __bfloat1622float2(x[t]);
  const float2 b = __bfloat1622float2(y[t]);
  x[t] = __floats2bfloat162_rn(a.x * b.x + 1.0f, fmaxf(a.y, b.y));
}

extern "C" __global__ void halves(__half2* x, const __half2* y) {
  const int t = threadIdx.x;
  x[t] = __hfma2(x[t], y[t], __hadd2(x[t], y[t]));
}

extern "C" __global__ void doubles(double* x) {
  x[threadIdx.x] = sqrt(x[threadIdx.x]) / 3.0 + exp(x[threadIdx.x]) + log(x[threadIdx.x] + 1.0);
}

extern "C" __global__ void functions(const float* x, float* y) {
  const float v = x[threadIdx.x];
  y[threadIdx.x] = expf(v) + erff(v) + tanhf(v) + logf(v * v + 1.0f) + sqrtf(v * v) + sinf(v) +
                   powf(v * v + 0.5f, 1.5f) + rsqrtf(v * v + 2.0f) + roundf(v) + fmodf(v, 0.7f);
}

extern "C" __global__ void divide(unsigned* x, unsigned d, long long* y, long long e) {
  x[threadIdx.x] /= d;
  y[threadIdx.x] = y[threadIdx.x] % e + __ballot_sync(~0u, x[threadIdx.x] > 3) % 7u;
}

extern "C" __global__ void votes(unsigned* x) {
  const unsigned v = x[threadIdx.x];
  unsigned r = __ballot_sync(~0u, v > 3);
  r += __any_sync(~0u, v == 2) ? 1u << 16 : 0;
  r ^= __match_any_sync(~0u, v & 1u);
  if (v > 3) r += __popc(__activemask());
  __syncwarp();
  x[threadIdx.x] = r + __shfl_up_sync(~0u, v, 1);
}

extern "C" __global__ void bytes(const int8_t* q, const float* scale, __half* out) {
  const int t = threadIdx.x;
  out[t] = __float2half(__ldg(q + t) * scale[t >> 4]);
}

extern "C" __global__ void checked(const int* x, int limit) {
  assert(x[threadIdx.x] < limit);
  if (x[threadIdx.x] == 1234) printf("%d\n", limit);
}
