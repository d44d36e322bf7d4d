// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which kernels, in which shapes, do a batch of at most so many tokens. Pure: a device's traits and
// a model's shape in, names and grids out.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "gpu/device.h"
#include "gpu/gemm_tiles.h"
#include "gpu/model.h"

namespace sluice {

// What a product's kernel does with its sums.
enum class ProductKind { kBias, kGelu, kResidual, kNorm, kNormedBias, kNormedGelu };

// A product of `rows` x `inputs` with `inputs` x `outputs`.
struct ProductSize {
  uint32_t rows = 0;
  uint32_t outputs = 0;
  uint32_t inputs = 0;
};

// A kernel's launch, but for its parameters.
struct KernelPlan {
  std::string kernel;
  uint32_t grid_x = 1;
  uint32_t grid_y = 1;
  uint32_t threads = 1;
  uint32_t shared_bytes = 0;
  uint32_t cluster_x = 1;
};

// Every tile in which a product of this kind can run on such a device, with its name: for tests and
// measurements. Empty only for kNorm, on devices without clusters or for unusual widths.
std::vector<KernelPlan> product_plans(const GpuTraits& traits, ProductKind kind,
                                      const ProductSize& shape);

// Beyond so many tokens, kernels that hold whole rows are faster than BucketPlan::normed.
inline constexpr uint32_t kFewTokens = 32;

// All of one bucket: batches of at most `tokens` tokens.
struct BucketPlan {
  uint32_t tokens = 0;
  KernelPlan embed, qkv, attention, attention_output, intermediate, output, finish;
  // The norm after a product whose kernel cannot do it; without a name where it does.
  KernelPlan attention_norm, output_norm;
  // Few tokens: the products that follow a norm do it themselves, as they load
  // its rows, so that nothing waits for whole rows in between. Then `attention_output` and `output`
  // only add the residual, `qkv` is for the first layer alone, and `last_norm` ends the last.
  bool normed = false;
  KernelPlan later_qkv, last_norm;

  // Kernels per batch for a model of `layers` layers.
  uint32_t kernels(uint32_t layers) const;
};

// kInvalid, naming the number, for a shape the kernels cannot do.
Result<Done> check_shape(const GpuShape& shape);
// The best plan known for up to `tokens` tokens. REQUIRES: check_shape(shape).ok()
BucketPlan plan_bucket(const GpuTraits& traits, const GpuShape& shape, uint32_t tokens);
// Numbers of tokens for which graphs are captured, ascending; the last is `tokens_max`, which is at
// most kGraphTokensMax.
std::vector<uint32_t> plan_buckets(uint32_t tokens_max);
inline constexpr uint32_t kGraphTokensMax = 32768;

}  // namespace sluice
