// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inner loops of a BERT layer that are not matrix products: attention and layer norm. One
// source, compiled once per instruction set (kernels_*.cc); the best the machine has is picked at
// run time, so that one binary runs everywhere.

#include <cstddef>
#include <cstdint>

namespace sluice {

// Attention of one sequence, all heads.
//   qkv      [tokens, 3 * heads * head_width]: queries, keys, values. The queries carry the factor
//            log2(e) / sqrt(head_width) already, so that softmax is a power of two.
//   context  [tokens, heads * head_width], written.
//   scratch  attention_scratch_bytes(tokens, head_width), aligned to 64.
// REQUIRES: tokens >= 1, head_width % 32 == 0.
struct AttentionShape {
  size_t tokens;
  size_t heads;
  size_t head_width;
};

// A layer norm over `rows` rows of `width`: x becomes (x - mean) / deviation * scale + shift.
// REQUIRES: width % 32 == 0.
struct NormShape {
  size_t rows;
  size_t width;
  float epsilon;
};

// What happens to a sum of a matrix product before it is stored.
enum class Finish {
  kBias,     // + bias
  kGelu,     // + bias, then the exact (erf) GELU
  kBiasAdd,  // + bias + what the output held
};

// y[rows, outputs] = finish(x[rows, inputs] * transpose(weights[outputs, inputs])) with weights
// packed by pack_weights(). REQUIRES: outputs % 32 == 0.
struct ProductShape {
  size_t rows;
  size_t inputs;
  size_t outputs;
  Finish finish;
};

// The loops for one instruction set. bfloat16 values travel as their bits.
struct Kernels {
  const char* name;  // for the log, e.g. "avx512"
  size_t panel;      // columns of outputs that are packed together
  void (*product)(const ProductShape& shape, const float* x, const float* packed, const float* bias,
                  float* y);
  // The same on bfloat16 with float32 sums, and weights packed by pack_weights_bf16(); y is float32
  // with Finish::kBiasAdd and bfloat16 else. Null where the CPU has no instructions for it.
  void (*product_bf16)(const ProductShape& shape, const uint16_t* x, const uint16_t* packed,
                       const float* bias, void* y);
  void (*attention)(const AttentionShape& shape, const float* qkv, float* context, void* scratch);
  // The same on bfloat16 with float32 sums; null where the CPU has no instructions for it.
  void (*attention_bf16)(const AttentionShape& shape, const uint16_t* qkv, uint16_t* context,
                         void* scratch);
  // In place; also rounds the result to bfloat16 into `rounded` unless that is null.
  void (*layer_norm)(const NormShape& shape, float* x, const float* scale, const float* shift,
                     uint16_t* rounded);
};

// The sets by name, best last; a set the machine lacks must not be called.
const Kernels& generic_kernels();
#if defined(__x86_64__)
// AVX2 and FMA.
const Kernels& avx2_kernels();
// AVX-512 F, BW, VL and DQ.
const Kernels& avx512_kernels();
// AVX-512 and its bfloat16 products.
const Kernels& avx512_bf16_kernels();
#endif

// What the CPU offers, best last.
enum class CpuLevel { kGeneric, kAvx2, kAvx512, kAvx512Bf16 };
// The best level of the machine the program runs on.
CpuLevel cpu_level();
// Whether it has matrix registers for bfloat16 (AMX), which multiply several times faster than our
// kernels.
bool cpu_has_amx();
// The kernels of `level`, which the machine must have.
const Kernels& kernels_of(CpuLevel level);

// Values that the two functions below write: whole panels.
size_t packed_values(const Kernels& kernels, size_t inputs, size_t outputs);
// Packs row-major `weights` [outputs, inputs] for the product of `kernels`: panels of
// kernels.panel outputs, each [inputs][panel]; outputs that fill up the last panel are zero.
void pack_weights(const Kernels& kernels, size_t inputs, size_t outputs, const float* weights,
                  float* packed);

// The same rounded to bfloat16, two inputs side by side: each panel is [inputs / 2][panel][2].
// REQUIRES: inputs % 2 == 0.
void pack_weights_bf16(const Kernels& kernels, size_t inputs, size_t outputs, const float* weights,
                       uint16_t* packed);

// Bytes of scratch memory an attention over `tokens` tokens needs, whatever the kernels.
size_t attention_scratch_bytes(size_t tokens, size_t head_width);

}  // namespace sluice
