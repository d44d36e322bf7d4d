// SPDX-License-Identifier: Apache-2.0
#pragma once
// A row of at most 1024 values held by one warp: lane i has eight values of every 256.

#include "gpu/device_tools.cuh"

namespace sluice::device {

class WarpRow {
 public:
  static constexpr int kWidthMax = 1024;

  // `width` is a multiple of eight.
  __device__ explicit WarpRow(uint32_t width)
      : width_(width), lane_(static_cast<uint32_t>(threadIdx.x) % 32) {
#pragma unroll
    for (auto& part : values_) {
#pragma unroll
      for (float& value : part) value = 0;
    }
  }

  __device__ void add(const HalfBits* from) {
#pragma unroll
    for (uint32_t i = 0; i < kParts; ++i) {
      if (first(i) >= width_) break;
      const uint4 bits = *reinterpret_cast<const uint4*>(from + first(i));
      const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 pair = unpack(words[j]);
        values_[i][2 * j] += pair.x;
        values_[i][2 * j + 1] += pair.y;
      }
    }
  }

  // Scales the row to mean zero and variance one, then by `scale` and `shift`, and stores it.
  __device__ void store_normalised(const float* scale, const float* shift, float epsilon,
                                   HalfBits* to) const {
    float sum = 0;
#pragma unroll
    for (const auto& part : values_) {
#pragma unroll
      for (const float value : part) sum += value;
    }
    const float mean = warp_sum(sum) / static_cast<float>(width_);
    float squares = 0;
#pragma unroll
    for (uint32_t i = 0; i < kParts; ++i) {
      if (first(i) >= width_) break;
#pragma unroll
      for (const float value : values_[i]) squares += (value - mean) * (value - mean);
    }
    const float factor = rsqrtf(warp_sum(squares) / static_cast<float>(width_) + epsilon);
#pragma unroll
    for (uint32_t i = 0; i < kParts; ++i) {
      if (first(i) >= width_) break;
      uint32_t words[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 s = *reinterpret_cast<const float2*>(scale + first(i) + 2 * j);
        const float2 t = *reinterpret_cast<const float2*>(shift + first(i) + 2 * j);
        words[j] = pack((values_[i][2 * j] - mean) * factor * s.x + t.x,
                        (values_[i][2 * j + 1] - mean) * factor * s.y + t.y);
      }
      *reinterpret_cast<uint4*>(to + first(i)) = {words[0], words[1], words[2], words[3]};
    }
  }

 private:
  static constexpr uint32_t kParts = kWidthMax / 256;
  __device__ uint32_t first(uint32_t part) const { return part * 256 + lane_ * 8; }

  uint32_t width_;
  uint32_t lane_;
  float values_[kParts][8];
};

}  // namespace sluice::device
