// SPDX-License-Identifier: Apache-2.0
#pragma once
// Layer norm of rows that lie in shared memory as slabs of 64 values, 128 bytes; eight threads share
// a row, each with sixteen bytes of every slab.

#include "gpu/device_tools.cuh"

namespace sluice::device {

// A thread's part of a row.
struct SlabRow {
  unsigned char* first;  // its bytes of the first slab
  int depth;             // slabs side by side, `slab_bytes` apart; the next are `stage_bytes` on
  int stage_bytes;
  int slab_bytes;
  int count;  // slabs

  __device__ uint4* part(int slab) const {
    return reinterpret_cast<uint4*>(first + slab / depth * stage_bytes + slab % depth * slab_bytes);
  }
  __device__ void load(int slab, float (&values)[8]) const {
    const uint4 bits = *part(slab);
    const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 pair = unpack(words[j]);
      values[2 * j] = pair.x;
      values[2 * j + 1] = pair.y;
    }
  }
  // Over the eight threads of a row.
  __device__ static float sum(float value) {
#pragma unroll
    for (int distance = 4; distance > 0; distance /= 2) {
      value += __shfl_xor_sync(0xffffffffU, value, distance);
    }
    return value;
  }
};

// Normalises the row where it lies; `scale`, `shift` and `out`, which may be null and gets the row
// too, point to the thread's first values. The loops are not unrolled: at the start of a small
// kernel, fetching code takes longest.
__device__ __forceinline__ void normalise_slabs(const SlabRow& row, float width, float epsilon,
                                                const float* scale, const float* shift,
                                                HalfBits* out) {
  float values[8];
  float sum = 0;
#pragma unroll 1
  for (int i = 0; i < row.count; ++i) {
    row.load(i, values);
#pragma unroll
    for (const float value : values) sum += value;
  }
  const float mean = SlabRow::sum(sum) / width;
  float squares = 0;
#pragma unroll 1
  for (int i = 0; i < row.count; ++i) {
    row.load(i, values);
#pragma unroll
    for (const float value : values) squares += (value - mean) * (value - mean);
  }
  const float factor = rsqrtf(SlabRow::sum(squares) / width + epsilon);
#pragma unroll 1
  for (int i = 0; i < row.count; ++i) {
    row.load(i, values);
    uint32_t words[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float2 by = *reinterpret_cast<const float2*>(scale + i * 64 + 2 * j);
      const float2 to = *reinterpret_cast<const float2*>(shift + i * 64 + 2 * j);
      words[j] = pack((values[2 * j] - mean) * factor * by.x + to.x,
                      (values[2 * j + 1] - mean) * factor * by.y + to.y);
    }
    const uint4 bits = {words[0], words[1], words[2], words[3]};
    *row.part(i) = bits;
    if (out != nullptr) *reinterpret_cast<uint4*>(out + i * 64) = bits;
  }
}

}  // namespace sluice::device
