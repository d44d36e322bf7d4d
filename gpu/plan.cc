// SPDX-License-Identifier: Apache-2.0
#include "gpu/plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "gpu/strip_shape.h"

namespace sluice {
namespace {

struct Tile {
  const char* name;
  bool wide;  // only for capability 9.0
  GemmTile tile;
};

#define SLUICE_TILE(ROWS, COLUMNS, DEPTH, STAGES, M, N, K) \
  Tile{#ROWS "x" #COLUMNS, false, {ROWS, COLUMNS, DEPTH, STAGES, M, N, K}},
#define SLUICE_WIDE_TILE(ROWS, COLUMNS, DEPTH, STAGES, M, N, K) \
  Tile{"wide_" #ROWS "x" #COLUMNS, true, {ROWS, COLUMNS, DEPTH, STAGES, M, N, K}},

constexpr Tile kGemmTiles[] = {SLUICE_GEMM_TILES(SLUICE_TILE) SLUICE_WIDE_TILES(SLUICE_WIDE_TILE)};
constexpr Tile kNormTiles[] = {SLUICE_NORM_TILES(SLUICE_TILE)
                                   SLUICE_WIDE_NORM_TILES(SLUICE_WIDE_TILE)};

constexpr Tile kNormedTiles[] = {SLUICE_NORMED_TILES(SLUICE_TILE)};

#undef SLUICE_TILE
#undef SLUICE_WIDE_TILE

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
    case ProductKind::kNormedBias:
      return "gemm_bias_normed_";
    case ProductKind::kNormedGelu:
      return "gemm_gelu_normed_";
  }
  return "";
}

bool is_normed(ProductKind kind) {
  return kind == ProductKind::kNormedBias || kind == ProductKind::kNormedGelu;
}

std::span<const Tile> tiles_of(ProductKind kind) {
  if (kind == ProductKind::kNorm) return kNormTiles;
  if (is_normed(kind)) return kNormedTiles;
  return kGemmTiles;
}

uint32_t shared_bytes(ProductKind kind, const GemmTile& tile) {
  return is_normed(kind) ? tile.normed_shared_bytes()
                         : tile.shared_bytes(kind == ProductKind::kNorm);
}

bool fits(const GpuTraits& traits, ProductKind kind, const ProductSize& shape, const Tile& choice) {
  const GemmTile& tile = choice.tile;
  const bool norm = kind == ProductKind::kNorm;
  // The residual's load needs two steps after the first.
  if (choice.wide &&
      (traits.capability != 90 || shape.inputs < 128 || kind == ProductKind::kResidual)) {
    return false;
  }
  if (shape.outputs % tile.columns != 0 || shape.inputs % (64 * tile.depth) != 0) return false;
  if (shared_bytes(kind, tile) > traits.shared_max) return false;
  if (is_normed(kind) && shape.inputs > kNormedInputsMax) return false;
  if (!norm) return true;
  const uint32_t blocks = shape.outputs / tile.columns;
  // Three blocks of the large tiles find no good place together.
  return traits.clusters() && blocks <= kClusterMax && !(choice.wide && blocks == 3);
}

KernelPlan plan_tile(ProductKind kind, const ProductSize& shape, const Tile& tile) {
  const bool norm = kind == ProductKind::kNorm;
  KernelPlan plan;
  plan.kernel = std::string(text_of(kind)) + tile.name;
  plan.grid_x = shape.outputs / tile.tile.columns;
  plan.grid_y = (shape.rows + tile.tile.rows - 1) / tile.tile.rows;
  plan.threads = tile.tile.threads();
  plan.shared_bytes = shared_bytes(kind, tile.tile);
  plan.cluster_x = norm ? plan.grid_x : 1;
  return plan;
}

// Microseconds of a block on an H100, as check/time_kernels.cc measures them: of the first on a
// multiprocessor, from start to end, and of each further one, all by 64 inputs; and what is added
// when so many work that the next kernel's blocks find no place beside them. Other GPUs are slower
// or faster, but much the same in what is faster there.
struct TileTimes {
  const char* name;
  double first, first_step, more, more_step, crowded;
};
constexpr TileTimes kGemmTimes[] = {
    {"32x32", 0.9, 0.18, 0.33, 0.16, 0.0},        {"64x64", 1.3, 0.32, 0.70, 0.25, 2.0},
    {"128x64", 1.8, 0.44, 0.83, 0.41, 2.0},       {"128x96", 2.1, 0.53, 1.10, 0.50, 2.6},
    {"128x128", 2.9, 0.74, 2.00, 1.00, 0.0},      {"wide_128x128", 2.3, 0.57, 1.00, 0.55, 2.7},
    {"wide_128x192", 2.6, 0.62, 1.20, 0.90, 1.0}, {"wide_256x128", 3.0, 0.75, 2.30, 1.15, 1.0},
};
constexpr TileTimes kNormTimes[] = {
    {"32x48", 4.0, 0.16, 4.4, 0.23, 0.0},        {"32x64", 4.0, 0.17, 5.8, 0.27, 0.0},
    {"32x96", 3.6, 0.26, 4.7, 0.31, 0.0},        {"32x128", 3.8, 0.30, 5.5, 0.37, 0.0},
    {"64x96", 3.8, 0.47, 3.1, 0.45, 0.0},        {"128x64", 5.7, 0.51, 3.4, 0.46, 0.0},
    {"128x96", 6.3, 0.66, 4.7, 0.63, 0.0},       {"128x128", 8.3, 0.73, 10.5, 0.84, 0.0},
    {"wide_128x96", 4.8, 0.46, 4.3, 0.43, 0.0},  {"wide_128x128", 6.6, 0.54, 5.6, 0.38, 0.0},
    {"wide_128x192", 6.5, 0.65, 8.2, 0.66, 0.0},
};

const TileTimes& times_of(bool norm, const Tile& tile) {
  const std::span<const TileTimes> all =
      norm ? std::span<const TileTimes>(kNormTimes) : std::span<const TileTimes>(kGemmTimes);
  const auto found = std::ranges::find(all, std::string_view(tile.name), &TileTimes::name);
  ASSERT(found != all.end());
  return *found;
}

double cost(const GpuTraits& traits, ProductKind kind, const ProductSize& shape,
            const Tile& choice) {
  const bool norm = kind == ProductKind::kNorm;
  const GemmTile& tile = choice.tile;
  const uint32_t blocks = shape.outputs / tile.columns * ((shape.rows + tile.rows - 1) / tile.rows);
  // A cluster's blocks must lie close together, so some multiprocessors stay without one.
  const double rounds = blocks / (norm ? 0.85 : 1.0) / traits.multiprocessors;
  // Few blocks end together. Where several share a multiprocessor, half a round is possible.
  const bool alone = norm || 2 * tile.shared_bytes(norm) > traits.shared_max;
  const double step = alone ? 1.0 : 0.5;
  const double whole =
      std::max(1.0, rounds <= 4 ? std::ceil(rounds / step) * step : rounds + step / 2);
  const TileTimes& times = times_of(norm, choice);
  const double steps = shape.inputs / 64.0;
  // GELU's arithmetic is hidden behind another block's products, if there is one.
  const double exposed = kind == ProductKind::kGelu && alone ? 2.5 : 0.0;
  const double crowded = rounds > 0.5 ? times.crowded : 0.0;
  return times.first + steps * times.first_step + exposed + crowded +
         (whole - 1) * (times.more + steps * times.more_step + exposed);
}

// Whether the strip kernels can do it; they are worth it from some rows for every multiprocessor
// on.
bool strip_fits(const GpuTraits& traits, ProductKind kind, const ProductSize& shape) {
  return traits.capability == 90 && (kind == ProductKind::kBias || kind == ProductKind::kGelu) &&
         shape.inputs <= kStripInputsMax && shape.inputs % 64 == 0 &&
         shape.outputs <= kStripOutputsMax && shape.outputs % kStripTile == 0;
}

KernelPlan plan_strip(const GpuTraits& traits, ProductKind kind, const ProductSize& shape) {
  KernelPlan plan;
  plan.kernel = std::string(text_of(kind)) + "strip";
  const uint32_t tiles = (shape.rows + kStripTile - 1) / kStripTile * (shape.outputs / kStripTile);
  plan.grid_x = std::min(tiles, traits.multiprocessors);
  plan.threads = kStripThreads;
  plan.shared_bytes = strip_shared_bytes(shape.inputs, shape.outputs);
  return plan;
}

KernelPlan plan_product(const GpuTraits& traits, ProductKind kind, const ProductSize& shape) {
  const std::span<const Tile> tiles = tiles_of(kind);
  if (strip_fits(traits, kind, shape) && shape.rows >= 48 * traits.multiprocessors) {
    return plan_strip(traits, kind, shape);
  }
  const Tile* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const Tile& tile : tiles) {
    if (!fits(traits, kind, shape, tile)) continue;
    const double microseconds = cost(traits, kind, shape, tile);
    if (microseconds < least) {
      least = microseconds;
      best = &tile;
    }
  }
  return best != nullptr ? plan_tile(kind, shape, *best) : KernelPlan{};
}

// Plans the rest of a layer for few tokens, where the kernels for that fit.
bool plan_few(const GpuTraits& traits, const GpuShape& shape, BucketPlan& plan) {
  const uint32_t hidden = shape.hidden;
  if (plan.tokens > kFewTokens) return false;
  plan.later_qkv =
      plan_product(traits, ProductKind::kNormedBias, {plan.tokens, 3 * hidden, hidden});
  if (plan.later_qkv.kernel.empty()) return false;
  plan.normed = true;
  plan.attention_output =
      plan_product(traits, ProductKind::kResidual, {plan.tokens, hidden, hidden});
  plan.intermediate =
      plan_product(traits, ProductKind::kNormedGelu, {plan.tokens, shape.intermediate, hidden});
  plan.output =
      plan_product(traits, ProductKind::kResidual, {plan.tokens, hidden, shape.intermediate});
  plan.last_norm = {"layer_norm", (plan.tokens + 7) / 8, 1, 256, 0, 1};
  return true;
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
  std::vector<KernelPlan> plans;
  for (const Tile& tile : tiles_of(kind)) {
    if (fits(traits, kind, shape, tile)) plans.push_back(plan_tile(kind, shape, tile));
  }
  if (strip_fits(traits, kind, shape)) plans.push_back(plan_strip(traits, kind, shape));
  return plans;
}

uint32_t BucketPlan::kernels(uint32_t layers) const {
  if (normed) return 2 + layers * 5 + 1;
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
  plan.embed = {"embed", (tokens + 7) / 8, 1, 256, 0, 1};
  plan.finish = {shape.labels != 0 ? "classify" : "pool",
                 std::min(tokens, traits.multiprocessors * 2),
                 1,
                 256,
                 0,
                 1};
  plan.qkv = plan_product(traits, ProductKind::kBias, {tokens, 3 * shape.hidden, shape.hidden});
  const uint32_t works = (tokens + 7) / 8 * shape.heads;
  plan.attention = {"attention_" + std::to_string(shape.head()),
                    std::min(works, traits.multiprocessors * 8),
                    1,
                    128,
                    0,
                    1};
  if (plan_few(traits, shape, plan)) return plan;
  plan_normed(traits, {tokens, shape.hidden, shape.hidden}, plan.attention_output,
              plan.attention_norm);
  plan.intermediate =
      plan_product(traits, ProductKind::kGelu, {tokens, shape.intermediate, shape.hidden});
  plan_normed(traits, {tokens, shape.hidden, shape.intermediate}, plan.output, plan.output_norm);
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
