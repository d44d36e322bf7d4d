// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the kernels are given, by value. Pointers are to device memory unless said otherwise; `half`
// is a 16-bit float in the IEEE format, held in uint16_t so that the host needs no CUDA header.

#include <cstdint>

#include "gpu/batch_block.h"

namespace sluice {

using HalfBits = uint16_t;

// embed: looks tokens up, adds position and segment, normalises.
struct EmbedParams {
  const BatchHeader* header = nullptr;
  const BatchToken* tokens = nullptr;
  const HalfBits* words = nullptr;      // [vocabulary, hidden]
  const HalfBits* positions = nullptr;  // [positions, hidden]
  const HalfBits* types = nullptr;      // [types, hidden]
  const float* scale = nullptr;         // [hidden]
  const float* shift = nullptr;         // [hidden]
  HalfBits* out = nullptr;              // [tokens, hidden]
  uint32_t hidden = 0;
  float epsilon = 0;
};

// gemm: out = x * weight^T + bias, and what the kernel's name adds to that.
struct GemmParams {
  const BatchHeader* header = nullptr;
  const HalfBits* x = nullptr;         // [rows, inputs], allocated up to a multiple of 128 rows
  const HalfBits* weight = nullptr;    // [outputs, inputs]
  const float* bias = nullptr;         // [outputs]
  const HalfBits* residual = nullptr;  // [rows, outputs], allocated as `x`; residual and norm only
  const float* scale = nullptr;        // [outputs]; norm only
  const float* shift = nullptr;        // [outputs]; norm only
  HalfBits* out = nullptr;             // [rows, outputs]
  const float* x_scale = nullptr;      // [inputs]; normed only: x is normalised first
  const float* x_shift = nullptr;      // [inputs]; normed only
  HalfBits* x_out = nullptr;           // [rows, inputs]; normed only: gets the normalised x
  uint32_t outputs = 0;                // a multiple of the tile's width
  uint32_t inputs = 0;                 // a multiple of 64
  float epsilon = 0;                   // norm and normed only
};

// layer_norm: out = LayerNorm(x), where the product's kernel could not do it itself.
struct NormParams {
  const BatchHeader* header = nullptr;
  const HalfBits* x = nullptr;  // [rows, hidden]
  const float* scale = nullptr;
  const float* shift = nullptr;
  HalfBits* out = nullptr;  // [rows, hidden]
  uint32_t hidden = 0;
  float epsilon = 0;
};

// attention: softmax(q k^T / sqrt(head width)) v for each text and head.
struct AttentionParams {
  const BatchHeader* header = nullptr;
  const BatchTile* tiles = nullptr;  // allocated for every block's first
  const HalfBits* qkv = nullptr;     // [tokens, 3 * heads * head width]
  HalfBits* out = nullptr;           // [tokens, heads * head width]
  uint32_t heads = 0;
  float scale_log2 = 0;  // log2(e) / sqrt(head width)
};

// pool and classify: one output per text, then the flag.
struct OutputParams {
  const BatchHeader* header = nullptr;
  const uint32_t* starts = nullptr;
  const HalfBits* x = nullptr;             // [tokens, hidden]
  const HalfBits* dense = nullptr;         // [hidden, hidden]; null: no dense layer
  const float* dense_bias = nullptr;       // [hidden]
  const HalfBits* classifier = nullptr;    // [labels, hidden]
  const float* classifier_bias = nullptr;  // [labels]
  float* out = nullptr;                    // pinned host memory, [texts, header->width]
  uint32_t* ticket = nullptr;              // zero between batches
  uint32_t* flag = nullptr;                // pinned host memory
  uint32_t hidden = 0;
  uint32_t labels = 0;
};

}  // namespace sluice
