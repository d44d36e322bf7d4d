// SPDX-License-Identifier: Apache-2.0
// Every tile of every product kernel against double precision, at numbers of rows around the tiles'
// edges. Rows beyond the batch's must not be written.

#include <algorithm>

#include "gpu/check/bench_device.h"

namespace sluice::check {
namespace {

constexpr uint32_t kRowsMax = 513;
constexpr uint32_t kRowsAllocated = 640;
constexpr HalfBits kPoison = 0xffff;  // not a number

// One product's operands on both sides, and what should come out.
struct Case {
  uint32_t outputs, inputs;
  std::vector<HalfBits> x, weight, residual;
  std::vector<float> bias, scale, shift;
  DeviceMemory x_there, weight_there, residual_there, bias_there, scale_there, shift_there, header;
  std::vector<double> sums;  // with bias
};

Case make_case(Bench& bench, uint32_t outputs, uint32_t inputs) {
  Case c{outputs, inputs, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  Numbers numbers(outputs * 7919 + inputs);
  c.x = numbers.halves(size_t{kRowsAllocated} * inputs, 1.0);
  c.weight = numbers.halves(size_t{outputs} * inputs, 1.5 / std::sqrt(inputs));
  c.residual = numbers.halves(size_t{kRowsAllocated} * outputs, 1.0);
  c.bias = numbers.floats(outputs, 0, 0.3);
  c.scale = numbers.floats(outputs, 1, 0.3);
  c.shift = numbers.floats(outputs, 0, 0.3);
  c.x_there = bench.upload(c.x);
  c.weight_there = bench.upload(c.weight);
  c.residual_there = bench.upload(c.residual);
  c.bias_there = bench.upload(c.bias);
  c.scale_there = bench.upload(c.scale);
  c.shift_there = bench.upload(c.shift);
  c.header = bench.upload(std::vector<BatchHeader>(1));
  std::vector<float> x(c.x.size());
  std::vector<float> weight(c.weight.size());
  std::ranges::transform(c.x, x.begin(), float_of);
  std::ranges::transform(c.weight, weight.begin(), float_of);
  c.sums.resize(size_t{kRowsMax} * outputs);
  for (size_t row = 0; row < kRowsMax; ++row) {
    for (size_t output = 0; output < outputs; ++output) {
      const float* a = x.data() + row * inputs;
      const float* b = weight.data() + output * inputs;
      double parts[8] = {};
      for (size_t i = 0; i < inputs; i += 8) {
        for (size_t j = 0; j < 8; ++j) {
          parts[j] += static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
        }
      }
      double sum = static_cast<double>(c.bias[output]);
      for (const double part : parts) sum += part;
      c.sums[row * outputs + output] = sum;
    }
  }
  return c;
}

constexpr double kEpsilon = 1e-5;

std::vector<double> wanted_of(const Case& c, ProductKind kind) {
  std::vector<double> wanted = c.sums;
  const size_t width = c.outputs;
  if (kind == ProductKind::kGelu) {
    for (double& v : wanted) v = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
  }
  if (kind == ProductKind::kResidual || kind == ProductKind::kNorm) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      wanted[i] += static_cast<double>(float_of(c.residual[i]));
    }
  }
  if (kind != ProductKind::kNorm) return wanted;
  for (size_t row = 0; row < kRowsMax; ++row) {
    double* values = wanted.data() + row * width;
    double mean = 0;
    for (size_t i = 0; i < width; ++i) mean += values[i];
    mean /= static_cast<double>(width);
    double squares = 0;
    for (size_t i = 0; i < width; ++i) squares += (values[i] - mean) * (values[i] - mean);
    const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + kEpsilon);
    for (size_t i = 0; i < width; ++i) {
      values[i] = (values[i] - mean) * factor * static_cast<double>(c.scale[i]) +
                  static_cast<double>(c.shift[i]);
    }
  }
  return wanted;
}

void check_tile(Bench& bench, Report& report, const Case& c, const KernelPlan& plan, uint32_t rows,
                const std::vector<double>& wanted) {
  DeviceMemory out =
      bench.upload(std::vector<HalfBits>(size_t{kRowsAllocated} * c.outputs, kPoison));
  BatchHeader header;
  header.tokens = rows;
  must(cuda_result(*bench.api,
                   bench.api->copy_to_device(c.header.address(), &header, sizeof header),
                   "copying"));
  GemmParams params;
  params.header = c.header.as<const BatchHeader>();
  params.x = c.x_there.as<const HalfBits>();
  params.weight = c.weight_there.as<const HalfBits>();
  params.bias = c.bias_there.as<const float>();
  params.residual = c.residual_there.as<const HalfBits>();
  params.scale = c.scale_there.as<const float>();
  params.shift = c.shift_there.as<const float>();
  params.out = out.as<HalfBits>();
  params.outputs = c.outputs;
  params.inputs = c.inputs;
  params.epsilon = static_cast<float>(kEpsilon);
  bench.launch(plan, params);
  bench.wait();
  const auto got = bench.download<HalfBits>(out, size_t{kRowsAllocated} * c.outputs);
  const std::string name = plan.kernel + " of " + std::to_string(rows) + " x " +
                           std::to_string(c.inputs) + " x " + std::to_string(c.outputs);
  report.check(name, relative(got, wanted, size_t{rows} * c.outputs), 1e-3);
  report.check(name + ", rows after the last",
               std::all_of(got.begin() + static_cast<ptrdiff_t>(size_t{rows} * c.outputs),
                           got.end(), [](HalfBits bits) { return bits == kPoison; }));
}

}  // namespace

void check_products(Bench& bench, Report& report, Effort effort) {
  struct Size {
    uint32_t outputs, inputs;
  };
  std::vector<Size> sizes = {{1152, 384}, {384, 1536}, {768, 768}, {512, 128}};
  std::vector<uint32_t> row_counts = {1, 31, 63, 64, 65, 128, 129, 512, 513};
  if (effort == Effort::kFull) {
    sizes.insert(sizes.end(), {{1536, 384}, {384, 384}, {1024, 1024}, {256, 64}});
  }
  if (effort == Effort::kTiny) {
    sizes = {{192, 128}, {128, 256}};
    row_counts = {1, 65, 129};
  }
  for (const Size& size : sizes) {
    const Case c = make_case(bench, size.outputs, size.inputs);
    for (const ProductKind kind :
         {ProductKind::kBias, ProductKind::kGelu, ProductKind::kResidual, ProductKind::kNorm}) {
      const std::vector<double> wanted = wanted_of(c, kind);
      for (const uint32_t rows : row_counts) {
        // The grid is the bucket's, larger than the batch.
        const ProductSize bucket = {std::min(rows + 70, kRowsAllocated), size.outputs, size.inputs};
        for (const KernelPlan& plan : product_plans(bench.device->traits(), kind, bucket)) {
          check_tile(bench, report, c, plan, rows, wanted);
          if (!plan.kernel.ends_with("strip")) continue;
          KernelPlan narrow = plan;  // so that blocks have several tiles and rows
          narrow.grid_x = std::min(plan.grid_x, 4U);
          check_tile(bench, report, c, narrow, rows, wanted);
        }
      }
    }
  }
}

}  // namespace sluice::check
