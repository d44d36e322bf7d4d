// SPDX-License-Identifier: Apache-2.0
// The kernels that end a batch, against double precision: every way to pool, to finish and to cut,
// the classifier's head, and the flag.

#include <algorithm>
#include <numeric>

#include "gpu/check/bench_device.h"

namespace sluice::check {
namespace {

struct Batch {
  size_t hidden;
  std::vector<uint32_t> starts = {0};
  std::vector<float> x;
  DeviceMemory x_there, starts_there, ticket;
};

Batch make_batch(Bench& bench, size_t hidden, const std::vector<uint32_t>& lengths) {
  Batch batch;
  batch.hidden = hidden;
  for (const uint32_t length : lengths) batch.starts.push_back(batch.starts.back() + length);
  Numbers numbers(hidden + lengths.size());
  const std::vector<HalfBits> x = numbers.halves(batch.starts.back() * hidden, 1);
  for (const HalfBits bits : x) batch.x.push_back(float_of(bits));
  batch.x_there = bench.upload(x);
  batch.starts_there = bench.upload(batch.starts);
  batch.ticket = bench.upload(std::vector<uint32_t>(1));
  return batch;
}

void finish(std::vector<double>& values, GpuFinish how) {
  double sum = 0;
  const double greatest = *std::ranges::max_element(values);
  for (double& value : values) {
    if (how == GpuFinish::kSigmoid) value = 1 / (1 + std::exp(-value));
    if (how == GpuFinish::kSoftmax) sum += value = std::exp(value - greatest);
    if (how == GpuFinish::kUnit) sum += value * value;
  }
  const double factor = how == GpuFinish::kSoftmax ? 1 / sum
                        : how == GpuFinish::kUnit  ? 1 / std::sqrt(sum)
                                                   : 1;
  for (double& value : values) value *= factor;
}

// Runs the kernel and compares; `width` values per text.
void run(Bench& bench, Report& report, const Batch& batch, const std::string& kernel,
         OutputParams params, BatchHeader header, const std::vector<double>& wanted) {
  const size_t texts = batch.starts.size() - 1;
  const HostMemory out =
      must(HostMemory::make(*bench.api, (texts + 1) * header.width * sizeof(float), "outputs"));
  const HostMemory flag = must(HostMemory::make(*bench.api, 64, "a flag"));
  auto* values = reinterpret_cast<float*>(out.data());
  std::fill(values, values + (texts + 1) * header.width, NAN);
  header.texts = static_cast<uint32_t>(texts);
  header.tokens = batch.starts.back();
  header.epoch = 4711;
  const DeviceMemory header_there = bench.upload(std::vector<BatchHeader>{header});
  params.header = header_there.as<const BatchHeader>();
  params.starts = batch.starts_there.as<const uint32_t>();
  params.x = batch.x_there.as<const HalfBits>();
  params.out = out.device<float>();
  params.flag = flag.device<uint32_t>();
  params.ticket = batch.ticket.as<uint32_t>();
  params.hidden = static_cast<uint32_t>(batch.hidden);
  for (const uint32_t grid : {1U, 3U, 6U}) {
    *reinterpret_cast<uint32_t*>(flag.data()) = 0;
    bench.launch({kernel, grid, 1, 256, 0, 1}, params);
    bench.wait();
    const std::string name = kernel + " of " + std::to_string(texts) + " texts x " +
                             std::to_string(batch.hidden) + ", finish " +
                             std::to_string(static_cast<int>(header.finish)) + ", width " +
                             std::to_string(header.width);
    const std::vector<float> got(values, values + wanted.size());
    report.check(name, relative(got, wanted, wanted.size()), 1e-5);
    report.check(name + ", after the last", std::isnan(values[wanted.size()]));
    report.check(name + ", flag", *reinterpret_cast<uint32_t*>(flag.data()) == 4711);
  }
}

void check_pool(Bench& bench, Report& report, const Batch& batch) {
  for (const GpuOutput output : {GpuOutput::kMean, GpuOutput::kFirst}) {
    for (const GpuFinish how : {GpuFinish::kRaw, GpuFinish::kUnit}) {
      for (const size_t width : {batch.hidden, batch.hidden / 2}) {
        BatchHeader header;
        header.output = output;
        header.finish = how;
        header.width = static_cast<uint32_t>(width);
        std::vector<double> wanted;
        for (size_t text = 0; text + 1 < batch.starts.size(); ++text) {
          const size_t first = batch.starts[text];
          const size_t end = output == GpuOutput::kMean ? batch.starts[text + 1] : first + 1;
          std::vector<double> values(width);
          for (size_t row = first; row < end; ++row) {
            for (size_t i = 0; i < width; ++i) {
              values[i] += static_cast<double>(batch.x[row * batch.hidden + i]) /
                           static_cast<double>(end - first);
            }
          }
          finish(values, how);
          wanted.insert(wanted.end(), values.begin(), values.end());
        }
        run(bench, report, batch, "pool", {}, header, wanted);
      }
    }
  }
}

std::vector<double> product(const std::vector<HalfBits>& weight, const std::vector<float>& bias,
                            const std::vector<double>& x) {
  std::vector<double> y(bias.begin(), bias.end());
  for (size_t i = 0; i < y.size(); ++i) {
    for (size_t j = 0; j < x.size(); ++j) {
      y[i] += static_cast<double>(float_of(weight[i * x.size() + j])) * x[j];
    }
  }
  return y;
}

void check_classify(Bench& bench, Report& report, const Batch& batch, size_t labels, bool dense) {
  Numbers numbers(labels);
  const size_t hidden = batch.hidden;
  const std::vector<HalfBits> dense_weight = numbers.halves(hidden * hidden, 0.05);
  const std::vector<float> dense_bias = numbers.floats(hidden, 0, 0.1);
  const std::vector<HalfBits> weight = numbers.halves(labels * hidden, 0.1);
  const std::vector<float> bias = numbers.floats(labels, 0, 0.1);
  const DeviceMemory dense_there = bench.upload(dense_weight);
  const DeviceMemory dense_bias_there = bench.upload(dense_bias);
  const DeviceMemory weight_there = bench.upload(weight);
  const DeviceMemory bias_there = bench.upload(bias);
  OutputParams params;
  if (dense) {
    params.dense = dense_there.as<const HalfBits>();
    params.dense_bias = dense_bias_there.as<const float>();
  }
  params.classifier = weight_there.as<const HalfBits>();
  params.classifier_bias = bias_there.as<const float>();
  params.labels = static_cast<uint32_t>(labels);
  for (const GpuFinish how : {GpuFinish::kRaw, GpuFinish::kSigmoid, GpuFinish::kSoftmax}) {
    std::vector<double> wanted;
    for (size_t text = 0; text + 1 < batch.starts.size(); ++text) {
      const auto row = batch.x.begin() + static_cast<ptrdiff_t>(batch.starts[text] * hidden);
      std::vector<double> values(row, row + static_cast<ptrdiff_t>(hidden));
      if (dense) {
        values = product(dense_weight, dense_bias, values);
        for (double& value : values) value = std::tanh(value);
      }
      values = product(weight, bias, values);
      finish(values, how);
      wanted.insert(wanted.end(), values.begin(), values.end());
    }
    BatchHeader header;
    header.output = GpuOutput::kLabels;
    header.finish = how;
    header.width = params.labels;
    run(bench, report, batch, "classify", params, header, wanted);
  }
}

}  // namespace

void check_outputs(Bench& bench, Report& report, Effort effort) {
  if (effort == Effort::kTiny) {
    const Batch batch = make_batch(bench, 64, {3, 1, 65, 17});
    check_pool(bench, report, batch);
    check_classify(bench, report, batch, 3, true);
    check_classify(bench, report, batch, 1, false);
    return;
  }
  for (const size_t hidden : {size_t{64}, size_t{384}, size_t{768}, size_t{1024}}) {
    for (const std::vector<uint32_t>& lengths :
         {std::vector<uint32_t>{1}, std::vector<uint32_t>{512},
          std::vector<uint32_t>{3, 1, 64, 65, 17, 2, 9}}) {
      const Batch batch = make_batch(bench, hidden, lengths);
      check_pool(bench, report, batch);
      check_classify(bench, report, batch, 1, true);
      check_classify(bench, report, batch, 5, true);
      check_classify(bench, report, batch, 3, false);
    }
  }
}

}  // namespace sluice::check
