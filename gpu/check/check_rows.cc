// SPDX-License-Identifier: Apache-2.0
// The kernels that work on rows, against double precision: embed and layer_norm at the start, pool
// and classify at the end.

#include <algorithm>

#include "gpu/check/bench_device.h"

namespace sluice::check {
namespace {

constexpr HalfBits kPoison = 0xffff;
constexpr float kEpsilon = 1e-12F;

void normalise(double* values, size_t width, const std::vector<float>& scale,
               const std::vector<float>& shift) {
  double mean = 0;
  for (size_t i = 0; i < width; ++i) mean += values[i];
  mean /= static_cast<double>(width);
  double squares = 0;
  for (size_t i = 0; i < width; ++i) squares += (values[i] - mean) * (values[i] - mean);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-12);
  for (size_t i = 0; i < width; ++i) {
    values[i] =
        (values[i] - mean) * factor * static_cast<double>(scale[i]) + static_cast<double>(shift[i]);
  }
}

struct Tables {
  size_t hidden;
  Numbers numbers;
  std::vector<HalfBits> words, positions, types;
  std::vector<float> scale, shift;
  explicit Tables(size_t width)
      : hidden(width),
        numbers(width),
        words(numbers.halves(1000 * width, 1)),
        positions(numbers.halves(512 * width, 0.5)),
        types(numbers.halves(2 * width, 0.5)),
        scale(numbers.floats(width, 1, 0.3)),
        shift(numbers.floats(width, 0, 0.3)) {}
};

void check_embed(Bench& bench, Report& report, Tables& tables, uint32_t count) {
  const size_t hidden = tables.hidden;
  const uint32_t grid = (count + 20) / 8;  // the bucket's, larger than the batch
  std::vector<BatchToken> tokens(size_t{grid} * 8);
  std::vector<double> wanted;
  for (uint32_t i = 0; i < count; ++i) {
    BatchToken& token = tokens[i];
    token.id = static_cast<uint32_t>(tables.numbers.between(0, 999));
    token.position = static_cast<uint16_t>(tables.numbers.between(0, 511));
    token.type = static_cast<uint16_t>(tables.numbers.between(0, 1));
    for (size_t j = 0; j < hidden; ++j) {
      const auto at = [&](const std::vector<HalfBits>& table, size_t row) {
        return static_cast<double>(float_of(table[row * hidden + j]));
      };
      wanted.push_back(at(tables.words, token.id) + at(tables.positions, token.position) +
                       at(tables.types, token.type));
    }
    normalise(wanted.data() + i * hidden, hidden, tables.scale, tables.shift);
  }
  BatchHeader header;
  header.tokens = count;
  const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
  const DeviceMemory tokens_there = bench.upload(tokens);
  const DeviceMemory words = bench.upload(tables.words);
  const DeviceMemory positions = bench.upload(tables.positions);
  const DeviceMemory types = bench.upload(tables.types);
  const DeviceMemory scale = bench.upload(tables.scale);
  const DeviceMemory shift = bench.upload(tables.shift);
  const DeviceMemory out = bench.upload(std::vector<HalfBits>((count + 20) * hidden, kPoison));
  EmbedParams params;
  params.header = header_there.as<const BatchHeader>();
  params.tokens = tokens_there.as<const BatchToken>();
  params.words = words.as<const HalfBits>();
  params.positions = positions.as<const HalfBits>();
  params.types = types.as<const HalfBits>();
  params.scale = scale.as<const float>();
  params.shift = shift.as<const float>();
  params.out = out.as<HalfBits>();
  params.hidden = static_cast<uint32_t>(hidden);
  params.epsilon = kEpsilon;
  bench.launch({"embed", grid, 1, 256, 0, 1}, params);
  bench.wait();
  const auto got = bench.download<HalfBits>(out, (count + 20) * hidden);
  const std::string name = "embed of " + std::to_string(count) + " x " + std::to_string(hidden);
  report.check(name, relative(got, wanted, count * hidden), 1e-3);
  report.check(name + ", rows after the last",
               std::all_of(got.begin() + static_cast<ptrdiff_t>(count * hidden), got.end(),
                           [](HalfBits bits) { return bits == kPoison; }));
}

void check_layer_norm(Bench& bench, Report& report, Tables& tables, uint32_t rows) {
  const size_t hidden = tables.hidden;
  const std::vector<HalfBits> x = tables.numbers.halves(rows * hidden, 2);
  std::vector<double> wanted;
  for (const HalfBits bits : x) wanted.push_back(static_cast<double>(float_of(bits)));
  for (size_t i = 0; i < rows; ++i) {
    normalise(wanted.data() + i * hidden, hidden, tables.scale, tables.shift);
  }
  BatchHeader header;
  header.tokens = rows;
  const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
  const DeviceMemory there = bench.upload(x);
  const DeviceMemory scale = bench.upload(tables.scale);
  const DeviceMemory shift = bench.upload(tables.shift);
  NormParams params;
  params.header = header_there.as<const BatchHeader>();
  params.x = there.as<const HalfBits>();
  params.scale = scale.as<const float>();
  params.shift = shift.as<const float>();
  params.out = there.as<HalfBits>();  // in place, as in a batch
  params.hidden = static_cast<uint32_t>(hidden);
  params.epsilon = kEpsilon;
  bench.launch({"layer_norm", (rows + 15) / 8, 1, 256, 0, 1}, params);
  bench.wait();
  report.check("layer_norm of " + std::to_string(rows) + " x " + std::to_string(hidden),
               relative(bench.download<HalfBits>(there, rows * hidden), wanted, rows * hidden),
               1e-3);
}

}  // namespace

void check_rows(Bench& bench, Report& report, Effort effort) {
  if (effort == Effort::kTiny) {
    for (const size_t hidden : {size_t{64}, size_t{384}}) {
      Tables tables(hidden);
      check_embed(bench, report, tables, 21);
      check_layer_norm(bench, report, tables, 9);
    }
    return;
  }
  for (const size_t hidden : {size_t{64}, size_t{384}, size_t{768}, size_t{1024}}) {
    Tables tables(hidden);
    for (const uint32_t tokens : {1U, 63U, 64U, 65U, 512U}) {
      check_embed(bench, report, tables, tokens);
      check_layer_norm(bench, report, tables, tokens);
    }
  }
}

}  // namespace sluice::check
