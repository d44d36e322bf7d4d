// SPDX-License-Identifier: Apache-2.0
// The product kernels that normalise their rows first, against double precision: the products, and
// the normalised rows that the first column of blocks keeps.

#include <algorithm>

#include "gpu/check/bench_device.h"

namespace sluice::check {
namespace {

constexpr HalfBits kPoison = 0xffff;
constexpr double kEpsilon = 1e-5;

// One problem's numbers and what should come out.
struct Problem {
  uint32_t rows, outputs, inputs;
  std::vector<HalfBits> x, weight;
  std::vector<float> bias, scale, shift;
  std::vector<double> normed, sums;
};

Problem make_problem(uint32_t rows, uint32_t outputs, uint32_t inputs) {
  Numbers numbers(rows * 131 + outputs + inputs);
  Problem p;
  p.rows = rows;
  p.outputs = outputs;
  p.inputs = inputs;
  p.x = numbers.halves(size_t{rows + 128} * inputs, 2);
  p.weight = numbers.halves(size_t{outputs} * inputs, 1.5 / std::sqrt(inputs));
  p.bias = numbers.floats(outputs, 0, 0.3);
  p.scale = numbers.floats(inputs, 1, 0.3);
  p.shift = numbers.floats(inputs, 0, 0.3);
  for (size_t row = 0; row < rows; ++row) {
    std::vector<double> values;
    values.reserve(inputs);
    for (size_t i = 0; i < inputs; ++i) {
      values.push_back(static_cast<double>(float_of(p.x[row * inputs + i])));
    }
    double mean = 0;
    for (const double value : values) mean += value / inputs;
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean) / inputs;
    for (size_t i = 0; i < inputs; ++i) {
      values[i] =
          (values[i] - mean) / std::sqrt(squares + kEpsilon) * static_cast<double>(p.scale[i]) +
          static_cast<double>(p.shift[i]);
    }
    for (size_t output = 0; output < outputs; ++output) {
      double sum = static_cast<double>(p.bias[output]);
      for (size_t i = 0; i < inputs; ++i) {
        sum += values[i] * static_cast<double>(float_of(p.weight[output * inputs + i]));
      }
      p.sums.push_back(sum);
    }
    p.normed.insert(p.normed.end(), values.begin(), values.end());
  }
  return p;
}

void check_problem(Bench& bench, Report& report, const Problem& p, ProductKind kind) {
  std::vector<double> wanted = p.sums;
  if (kind == ProductKind::kNormedGelu) {
    for (double& v : wanted) v = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
  }
  const size_t rows_allocated = p.rows + 128;
  BatchHeader header;
  header.tokens = p.rows;
  const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
  const DeviceMemory x = bench.upload(p.x);
  const DeviceMemory weight = bench.upload(p.weight);
  const DeviceMemory bias = bench.upload(p.bias);
  const DeviceMemory scale = bench.upload(p.scale);
  const DeviceMemory shift = bench.upload(p.shift);
  GemmParams params;
  params.header = header_there.as<const BatchHeader>();
  params.x = x.as<const HalfBits>();
  params.weight = weight.as<const HalfBits>();
  params.bias = bias.as<const float>();
  params.x_scale = scale.as<const float>();
  params.x_shift = shift.as<const float>();
  params.outputs = p.outputs;
  params.inputs = p.inputs;
  params.epsilon = static_cast<float>(kEpsilon);
  for (const KernelPlan& plan :
       product_plans(bench.device->traits(), kind, {p.rows + 40, p.outputs, p.inputs})) {
    const DeviceMemory out =
        bench.upload(std::vector<HalfBits>(rows_allocated * p.outputs, kPoison));
    const DeviceMemory x_out =
        bench.upload(std::vector<HalfBits>(rows_allocated * p.inputs, kPoison));
    params.out = out.as<HalfBits>();
    params.x_out = x_out.as<HalfBits>();
    bench.launch(plan, params);
    bench.wait();
    const std::string name = plan.kernel + " of " + std::to_string(p.rows) + " x " +
                             std::to_string(p.inputs) + " x " + std::to_string(p.outputs);
    const auto check_rows = [&](const DeviceMemory& memory, const std::vector<double>& values,
                                size_t width, const std::string& what) {
      const auto got = bench.download<HalfBits>(memory, rows_allocated * width);
      report.check(name + what, relative(got, values, p.rows * width), 1e-3);
      report.check(name + what + ", rows after the last",
                   std::all_of(got.begin() + static_cast<ptrdiff_t>(p.rows * width), got.end(),
                               [](HalfBits bits) { return bits == kPoison; }));
    };
    check_rows(out, wanted, p.outputs, "");
    check_rows(x_out, p.normed, p.inputs, ", normalised rows");
  }
}

}  // namespace

void check_normed(Bench& bench, Report& report, Effort effort) {
  std::vector<uint32_t> row_counts = {1, 33};
  if (effort != Effort::kTiny) row_counts = {1, 31, 32, 33, 64, 65, 250};
  for (const uint32_t rows : row_counts) {
    for (const uint32_t inputs : {128U, 384U}) {
      if (effort == Effort::kTiny && inputs > 128) continue;
      const Problem problem = make_problem(rows, 96, inputs);
      check_problem(bench, report, problem, ProductKind::kNormedBias);
      check_problem(bench, report, problem, ProductKind::kNormedGelu);
    }
  }
}

}  // namespace sluice::check
