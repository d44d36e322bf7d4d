// SPDX-License-Identifier: Apache-2.0
// What each tile of each product takes at MiniLM's shapes, and what attention takes: the figures
// that plan.cc's choice of tiles rests on.

#include <algorithm>

#include "gpu/check/bench_device.h"

namespace sluice::check {
namespace {

constexpr uint32_t kRowsMax = 32768;

// A kernel that does nothing: the header says that there are no rows.
void time_nothing(Bench& bench) {
  const DeviceMemory header = bench.upload(std::vector<BatchHeader>(1));
  NormParams params;
  params.header = header.as<const BatchHeader>();
  params.hidden = 384;
  std::printf("a kernel without work, in a graph: %.2f us\n",
              bench.time({"layer_norm", 1, 1, 256, 0, 1}, params, 200));
}

void time_copy(Bench& bench) {
  constexpr size_t kRows = 1 << 19;
  const DeviceMemory x =
      must(DeviceMemory::make(*bench.api, kRows * 1024 * sizeof(HalfBits), "rows"));
  const DeviceMemory scale = bench.upload(std::vector<float>(1024, 1.0F));
  BatchHeader header;
  header.tokens = kRows;
  const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
  NormParams params;
  params.header = header_there.as<const BatchHeader>();
  params.x = x.as<const HalfBits>();
  params.scale = scale.as<const float>();
  params.shift = scale.as<const float>();
  params.out = x.as<HalfBits>();
  params.hidden = 1024;
  const double us = bench.time({"layer_norm", kRows / 8, 1, 256, 0, 1}, params, 3);
  std::printf("layer_norm of 1 GiB: %.0f GB/s read and written\n", kRows * 4096.0 / us * 1e-3);
}

void time_attention(Bench& bench) {
  Numbers numbers(2);
  const DeviceMemory qkv = bench.upload(numbers.halves(size_t{kRowsMax} * 1152, 1));
  const DeviceMemory out =
      must(DeviceMemory::make(*bench.api, size_t{kRowsMax} * 384 * sizeof(HalfBits), "outputs"));
  for (const uint32_t length : {32U, 128U, 512U}) {
    for (const uint32_t tokens : {512U, 4096U, 32768U}) {
      std::vector<BatchTile> tiles;
      for (uint32_t start = 0; start < tokens; start += length) {
        for (uint32_t row = 0; row < length; row += kTileRows) {
          tiles.push_back({start, length, row, 0});
        }
      }
      BatchHeader header;
      header.tokens = tokens;
      header.tiles = static_cast<uint32_t>(tiles.size());
      tiles.resize(tokens + 64);
      const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
      const DeviceMemory tiles_there = bench.upload(tiles);
      AttentionParams params;
      params.header = header_there.as<const BatchHeader>();
      params.tiles = tiles_there.as<const BatchTile>();
      params.qkv = qkv.as<const HalfBits>();
      params.out = out.as<HalfBits>();
      params.heads = 12;
      params.scale_log2 = 0.25F;
      for (const uint32_t per : {4U, 5U, 8U}) {
        const uint32_t grid =
            std::min((tokens + 7) / 8 * 12, bench.device->traits().multiprocessors * per);
        std::printf("attention_32, %u blocks each: %u tokens in texts of %u  %8.2f us\n", per,
                    tokens, length, bench.time({"attention_32", grid, 1, 128, 0, 1}, params, 50));
      }
    }
  }
}

}  // namespace

void time_products(Bench& bench, const std::string& only) {
  Numbers numbers(1);
  const DeviceMemory x = bench.upload(numbers.halves(size_t{kRowsMax} * 1536, 1));
  const DeviceMemory weight = bench.upload(numbers.halves(size_t{1536} * 1536, 0.05));
  const DeviceMemory floats = bench.upload(numbers.floats(1536, 0.5, 0.2));
  const DeviceMemory out =
      must(DeviceMemory::make(*bench.api, size_t{kRowsMax} * 1536 * sizeof(HalfBits), "outputs"));
  const DeviceMemory kept =
      must(DeviceMemory::make(*bench.api, size_t{kRowsMax} * 384 * sizeof(HalfBits), "rows"));
  struct Product {
    ProductKind kind;
    uint32_t outputs, inputs;
  };
  for (const Product& product :
       {Product{ProductKind::kBias, 1152, 384}, Product{ProductKind::kGelu, 1536, 384},
        Product{ProductKind::kNorm, 384, 384}, Product{ProductKind::kNorm, 384, 1536},
        Product{ProductKind::kNormedBias, 1152, 384}, Product{ProductKind::kNormedGelu, 1536, 384},
        Product{ProductKind::kResidual, 384, 384}, Product{ProductKind::kResidual, 384, 1536}}) {
    for (const uint32_t rows : {32U, 128U, 256U, 512U, 1024U, 2048U, 4096U, 8192U, 32768U}) {
      if (product.kind != ProductKind::kBias && product.kind != ProductKind::kGelu &&
          product.kind != ProductKind::kNorm && rows > 1024) {
        continue;  // they are for few rows
      }
      BatchHeader header;
      header.tokens = rows;
      const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
      GemmParams params;
      params.header = header_there.as<const BatchHeader>();
      params.x = x.as<const HalfBits>();
      params.weight = weight.as<const HalfBits>();
      params.bias = params.scale = params.shift = floats.as<const float>();
      params.x_scale = params.x_shift = floats.as<const float>();
      params.x_out = kept.as<HalfBits>();
      params.residual = x.as<const HalfBits>();
      params.out = out.as<HalfBits>();
      params.outputs = product.outputs;
      params.inputs = product.inputs;
      params.epsilon = 1e-12F;
      for (const KernelPlan& plan : product_plans(bench.device->traits(), product.kind,
                                                  {rows, product.outputs, product.inputs})) {
        if (plan.kernel.find(only) == std::string::npos) continue;
        const double us = bench.time(plan, params, rows > 4096 ? 20 : 100);
        std::printf("%-20s %6u x %4u x %4u  %8.2f us %7.1f TFLOP/s\n", plan.kernel.c_str(), rows,
                    product.inputs, product.outputs, us,
                    2e-6 * rows * product.inputs * product.outputs / us);
      }
    }
  }
}

void time_kernels(Bench& bench) {
  time_nothing(bench);
  time_copy(bench);
  time_products(bench, "");
  time_attention(bench);
}

}  // namespace sluice::check
