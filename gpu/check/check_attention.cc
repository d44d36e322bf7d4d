// SPDX-License-Identifier: Apache-2.0
// The attention kernels against double precision, for batches of texts of many lengths.

#include <algorithm>

#include "gpu/check/bench_device.h"

namespace sluice::check {
namespace {

constexpr HalfBits kPoison = 0xffff;

std::vector<double> attend(const std::vector<float>& qkv, const std::vector<uint32_t>& lengths,
                           size_t heads, size_t head) {
  const size_t width = heads * head;
  std::vector<double> out;
  size_t start = 0;
  for (const size_t length : lengths) {
    for (size_t query = 0; query < length; ++query) {
      for (size_t h = 0; h < heads; ++h) {
        const float* q = qkv.data() + (start + query) * 3 * width + h * head;
        std::vector<double> weights(length);
        double greatest = -INFINITY;
        for (size_t key = 0; key < length; ++key) {
          const float* k = qkv.data() + (start + key) * 3 * width + width + h * head;
          double sum = 0;
          for (size_t i = 0; i < head; ++i) {
            sum += static_cast<double>(q[i]) * static_cast<double>(k[i]);
          }
          weights[key] = sum / std::sqrt(static_cast<double>(head));
          greatest = std::max(greatest, weights[key]);
        }
        double total = 0;
        for (double& weight : weights) total += weight = std::exp(weight - greatest);
        std::vector<double> sums(head);
        for (size_t key = 0; key < length; ++key) {
          const float* v = qkv.data() + (start + key) * 3 * width + 2 * width + h * head;
          for (size_t i = 0; i < head; ++i) {
            sums[i] += weights[key] / total * static_cast<double>(v[i]);
          }
        }
        out.insert(out.end(), sums.begin(), sums.end());
      }
    }
    start += length;
  }
  return out;
}

void check_batch(Bench& bench, Report& report, const std::vector<uint32_t>& lengths, uint32_t heads,
                 uint32_t head) {
  BatchHeader header;
  std::vector<BatchTile> tiles;
  for (const uint32_t length : lengths) {
    for (uint32_t row = 0; row < length; row += kTileRows) {
      tiles.push_back({header.tokens, length, row, 0});
    }
    header.tokens += length;
  }
  header.tiles = static_cast<uint32_t>(tiles.size());
  // What lies behind the list looks like more of it: an earlier batch may have left that there.
  tiles.resize(header.tokens + 64, {0, lengths[0], 0, 0});
  const size_t width = size_t{heads} * head;
  Numbers numbers(header.tokens * 31 + head);
  const std::vector<HalfBits> qkv = numbers.halves(header.tokens * 3 * width, 1.3);
  std::vector<float> floats(qkv.size());
  std::ranges::transform(qkv, floats.begin(), float_of);
  const std::vector<double> wanted = attend(floats, lengths, heads, head);
  const DeviceMemory qkv_there = bench.upload(qkv);
  const DeviceMemory tiles_there = bench.upload(tiles);
  const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
  const size_t values = (header.tokens + 64) * width;
  const DeviceMemory out = bench.upload(std::vector<HalfBits>(values, kPoison));
  AttentionParams params;
  params.header = header_there.as<const BatchHeader>();
  params.tiles = tiles_there.as<const BatchTile>();
  params.qkv = qkv_there.as<const HalfBits>();
  params.out = out.as<HalfBits>();
  params.heads = heads;
  params.scale_log2 = 1.4426950408889634F / std::sqrt(static_cast<float>(head));
  const uint32_t grid = std::min((header.tokens + 7) / 8 * heads, 300U);
  bench.launch({"attention_" + std::to_string(head), grid, 1, 128, 0, 1}, params);
  bench.wait();
  const auto got = bench.download<HalfBits>(out, values);
  const std::string name = "attention_" + std::to_string(head) + " of " +
                           std::to_string(lengths.size()) + " texts, " +
                           std::to_string(header.tokens) + " tokens";
  report.check(name, relative(got, wanted, header.tokens * width), 1e-3);
  report.check(name + ", rows after the last",
               std::all_of(got.begin() + static_cast<ptrdiff_t>(header.tokens * width), got.end(),
                           [](HalfBits bits) { return bits == kPoison; }));
}

}  // namespace

void check_attention(Bench& bench, Report& report, Effort effort) {
  for (const uint32_t head : {32U, 64U}) {
    if (effort == Effort::kTiny) {
      for (const uint32_t length : {1U, 17U, 63U, 65U}) {
        check_batch(bench, report, {length}, 2, head);
      }
      check_batch(bench, report, {130, 64, 32, 1}, 2, head);
      continue;
    }
    for (const uint32_t length : {1U, 2U, 15U, 16U, 17U, 63U, 64U, 65U, 128U, 512U}) {
      check_batch(bench, report, {length}, 12, head);
    }
    check_batch(bench, report, {1, 17, 64, 65, 130, 32}, 12, head);
    Numbers numbers(head);
    for (const size_t texts : {size_t{7}, size_t{64}}) {
      std::vector<uint32_t> lengths(texts);
      for (uint32_t& length : lengths) length = static_cast<uint32_t>(numbers.between(1, 150));
      if (effort == Effort::kFull || texts < 64) check_batch(bench, report, lengths, 12, head);
    }
  }
}

}  // namespace sluice::check
