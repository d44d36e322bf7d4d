// SPDX-License-Identifier: Apache-2.0
#include "gpu/plan.h"

#include <algorithm>
#include <array>
#include <limits>

namespace sluice {
namespace {

struct Tile {
  const char* name;
  GemmTile tile;
};

#define SLUICE_TILE(ROWS, COLUMNS, DEPTH, STAGES, M, N, K) \
  Tile{#ROWS "x" #COLUMNS, {ROWS, COLUMNS, DEPTH, STAGES, M, N, K}},

constexpr Tile kGemmTiles[] = {SLUICE_GEMM_TILES(SLUICE_TILE)};
constexpr Tile kNormTiles[] = {SLUICE_NORM_TILES(SLUICE_TILE)};

#undef SLUICE_TILE

const char* text_of(ProductKind kind) {
  switch (kind) {
    case ProductKind::kBias:
      return "gemm_bias_";
    case ProductKind::kGelu:
      return "gemm_gelu_";
    case ProductKind::kResidual:
      return "gemm_residual_";
    case ProductKind::kNorm:
      return "gemm_norm_";
  }
  return "";
}

bool fits(const GpuTraits& traits, bool norm, const ProductSize& shape, const GemmTile& tile) {
  if (shape.outputs % tile.columns != 0 || shape.inputs % (64 * tile.depth) != 0) return false;
  if (tile.shared_bytes(norm) > traits.shared_max) return false;
  return !norm || (traits.clusters() && shape.outputs / tile.columns <= kClusterMax);
}

KernelPlan plan_tile(ProductKind kind, const ProductSize& shape, const Tile& tile) {
  const bool norm = kind == ProductKind::kNorm;
  KernelPlan plan;
  plan.kernel = std::string(text_of(kind)) + tile.name;
  plan.grid_x = shape.outputs / tile.tile.columns;
  plan.grid_y = (shape.rows + tile.tile.rows - 1) / tile.tile.rows;
  plan.threads = tile.tile.threads();
  plan.shared_bytes = tile.tile.shared_bytes(norm);
  plan.cluster_x = norm ? plan.grid_x : 1;
  return plan;
}

// A guess at the microseconds of a product: rounds of blocks, each a start and its sums. The rates,
// in 1e6 multiplications per microsecond and multiprocessor, are of an H100; only their order
// matters, and that is much the same elsewhere.
double cost(const GpuTraits& traits, const ProductSize& shape, const GemmTile& tile) {
  const double blocks = static_cast<double>(shape.outputs / tile.columns) *
                        ((shape.rows + tile.rows - 1) / tile.rows);
  const double area = tile.rows * tile.columns;
  const double rate = area <= 1024 ? 0.5 : area <= 4096 ? 1.0 : area <= 8192 ? 1.5 : 1.9;
  const double rounds = std::max(1.0, blocks / traits.multiprocessors);
  const double whole =
      rounds <= 4 ? static_cast<double>(static_cast<int64_t>(rounds + 0.99)) : rounds + 0.5;
  return 1.5 + whole * (0.5 + area * shape.inputs / (rate * 1e6));
}

KernelPlan plan_product(const GpuTraits& traits, ProductKind kind, const ProductSize& shape) {
  const bool norm = kind == ProductKind::kNorm;
  const std::span<const Tile> tiles =
      norm ? std::span<const Tile>(kNormTiles) : std::span<const Tile>(kGemmTiles);
  const Tile* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const Tile& tile : tiles) {
    if (!fits(traits, norm, shape, tile.tile)) continue;
    const double microseconds = cost(traits, shape, tile.tile);
    if (microseconds < least) {
      least = microseconds;
      best = &tile;
    }
  }
  return best != nullptr ? plan_tile(kind, shape, *best) : KernelPlan{};
}

// A product with residual and norm, in one kernel or two.
void plan_normed(const GpuTraits& traits, const ProductSize& shape, KernelPlan& product,
                 KernelPlan& norm) {
  product = plan_product(traits, ProductKind::kNorm, shape);
  if (!product.kernel.empty()) return;
  product = plan_product(traits, ProductKind::kResidual, shape);
  norm = {"layer_norm", (shape.rows + 7) / 8, 1, 256, 0, 1};
}

}  // namespace

std::vector<KernelPlan> product_plans(const GpuTraits& traits, ProductKind kind,
                                      const ProductSize& shape) {
  const bool norm = kind == ProductKind::kNorm;
  std::vector<KernelPlan> plans;
  const std::span<const Tile> tiles =
      norm ? std::span<const Tile>(kNormTiles) : std::span<const Tile>(kGemmTiles);
  for (const Tile& tile : tiles) {
    if (fits(traits, norm, shape, tile.tile)) plans.push_back(plan_tile(kind, shape, tile));
  }
  return plans;
}

uint32_t BucketPlan::kernels(uint32_t layers) const {
  const uint32_t norms =
      (attention_norm.kernel.empty() ? 0U : 1U) + (output_norm.kernel.empty() ? 0U : 1U);
  return 2 + layers * (5 + norms);
}

Result<Done> check_shape(const GpuShape& shape) {
  const auto bad = [](const char* field, uint32_t value, const char* wanted) {
    return Error{Code::kInvalid, std::string("the GPU engine takes a ") + field + " that is " +
                                     wanted + ", not " + std::to_string(value)};
  };
  if (shape.hidden == 0 || shape.hidden % 64 != 0 || shape.hidden > 1024) {
    return bad("hidden_size", shape.hidden, "a multiple of 64 up to 1024");
  }
  if (shape.intermediate == 0 || shape.intermediate % 64 != 0) {
    return bad("intermediate_size", shape.intermediate, "a multiple of 64");
  }
  if (shape.heads == 0 || shape.hidden % shape.heads != 0 ||
      (shape.head() != 32 && shape.head() != 64)) {
    return bad("num_attention_heads", shape.heads, "hidden_size / 32 or hidden_size / 64");
  }
  if (shape.labels > 1024) return bad("number of labels", shape.labels, "at most 1024");
  if (shape.types == 0 || shape.types > 65536) {
    return bad("type_vocab_size", shape.types, "from 1 to 65536");
  }
  if (shape.positions == 0 || shape.positions > 65536 || shape.tokens_max > shape.positions ||
      shape.tokens_max == 0) {
    return bad("longest text", shape.tokens_max, "within max_position_embeddings");
  }
  return Done{};
}

BucketPlan plan_bucket(const GpuTraits& traits, const GpuShape& shape, uint32_t tokens) {
  BucketPlan plan;
  plan.tokens = tokens;
  plan.tokens_per_warp = tokens <= 1024 ? 1 : 4;
  const uint32_t per_block = 8 * plan.tokens_per_warp;
  plan.embed = {"embed", (tokens + per_block - 1) / per_block, 1, 256, 0, 1};
  plan.qkv = plan_product(traits, ProductKind::kBias, {tokens, 3 * shape.hidden, shape.hidden});
  const uint32_t works = (tokens + 7) / 8 * shape.heads;
  plan.attention = {"attention_" + std::to_string(shape.head()),
                    std::min(works, traits.multiprocessors * 5),
                    1,
                    128,
                    0,
                    1};
  plan_normed(traits, {tokens, shape.hidden, shape.hidden}, plan.attention_output,
              plan.attention_norm);
  plan.intermediate =
      plan_product(traits, ProductKind::kGelu, {tokens, shape.intermediate, shape.hidden});
  plan_normed(traits, {tokens, shape.hidden, shape.intermediate}, plan.output, plan.output_norm);
  plan.finish = {shape.labels != 0 ? "classify" : "pool",
                 std::min(tokens, traits.multiprocessors * 2),
                 1,
                 256,
                 0,
                 1};
  return plan;
}

std::vector<uint32_t> plan_buckets(uint32_t tokens_max) {
  constexpr std::array<uint32_t, 21> kAll = {32,   64,   96,    128,   192,   256,   384,
                                             512,  768,  1024,  1536,  2048,  3072,  4096,
                                             6144, 8192, 12288, 16384, 20480, 24576, 32768};
  ASSERT(tokens_max > 0 && tokens_max <= kGraphTokensMax);
  std::vector<uint32_t> buckets;
  for (const uint32_t tokens : kAll) {
    if (tokens < tokens_max) buckets.push_back(tokens);
  }
  buckets.push_back(tokens_max);
  return buckets;
}

}  // namespace sluice
