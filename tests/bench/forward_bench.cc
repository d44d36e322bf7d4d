// SPDX-License-Identifier: Apache-2.0
// CPU time of a forward pass in this process, one thread, at four shapes: one short text, one
// longer text, a full batch and a batch of mixed lengths.
//
//   forward_bench MODEL_FOLDER [f32|bf16|both] [seconds per shape]
//
// One JSON line per shape and precision with the median and the smallest CPU milliseconds per
// batch. forward_peers.py measures other engines on the same shapes.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "backends/bert.h"
#include "base/prng.h"

namespace {

using namespace sluice;

struct Shape {
  std::string name;
  std::vector<size_t> lengths;
};

// Lengths as texts have them: many short, few long; 2,277 tokens in 64 texts, the longest 123.
std::vector<size_t> mixed_lengths() {
  return {4,  5,  6,  7,  8,  8,  9,  10, 10, 11, 12, 12, 13, 14, 14, 15, 16, 17, 18,  18, 19, 20,
          21, 22, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,  40, 41, 43,
          44, 46, 47, 49, 51, 53, 55, 57, 58, 60, 62, 65, 68, 71, 74, 77, 80, 93, 101, 123};
}

// Thread CPU time: other processes on the machine do not count.
double cpu_ms() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

void measure(BertRunner& runner, const BertModel& model, const Shape& shape, double seconds) {
  Prng random(7);
  std::vector<std::vector<int32_t>> rows;
  size_t tokens = 0;
  for (const size_t length : shape.lengths) {
    std::vector<int32_t>& row = rows.emplace_back(length);
    for (int32_t& id : row) {
      id = static_cast<int32_t>(random.between(0, int64_t{model.config().vocabulary} - 1));
    }
    tokens += length;
  }
  // Mixed lengths arrive in no order.
  for (size_t i = rows.size(); i > 1; --i) {
    std::swap(rows[i - 1],
              rows[static_cast<size_t>(random.between(0, static_cast<int64_t>(i) - 1))]);
  }
  const std::vector<std::span<const int32_t>> views(rows.begin(), rows.end());
  std::vector<float> out(rows.size() * model.width());
  std::vector<double> times;
  double total = 0.0;
  while (times.size() < 5 || total < seconds * 1e3) {
    const double start = cpu_ms();
    if (!runner.embed(views, out.data()).ok()) std::abort();
    times.push_back(cpu_ms() - start);
    total += times.back();
  }
  times.erase(times.begin());  // the first one fills caches
  std::sort(times.begin(), times.end());
  std::printf(
      "{\"engine\":\"sluice\",\"precision\":\"%s\",\"shape\":\"%s\",\"texts\":%zu,\"tokens\":%zu,"
      "\"cpu_ms_median\":%.3f,\"cpu_ms_min\":%.3f,\"runs\":%zu}\n",
      model.precision() == Precision::kF32 ? "f32" : "bf16", shape.name.c_str(), rows.size(),
      tokens, times[times.size() / 2], times.front(), times.size());
  std::fflush(stdout);
}

int run(const std::string& path, Precision precision, double seconds) {
  Result<ModelFolder> folder = read_model_folder(path);
  if (!folder.ok()) {
    std::fprintf(stderr, "%s\n", folder.error().message.c_str());
    return 1;
  }
  const Result<std::unique_ptr<BertModel>> model = BertModel::load(folder.value(), precision);
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", model.error().message.c_str());
    return 1;
  }
  const Result<std::unique_ptr<BertRunner>> runner = BertRunner::make(*model.value());
  if (!runner.ok()) return 1;
  const Shape shapes[] = {{"1x8", {8}},
                          {"1x32", {32}},
                          {"32x128", std::vector<size_t>(32, 128)},
                          {"mixed64", mixed_lengths()}};
  for (const Shape& shape : shapes) measure(*runner.value(), *model.value(), shape, seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: forward_bench MODEL_FOLDER [f32|bf16|both] [seconds]\n");
    return 2;
  }
  const std::string precision = argc > 2 ? argv[2] : "both";
  const double seconds = argc > 3 ? std::atof(argv[3]) : 2.0;
  int failed = 0;
  if (precision != "bf16") failed |= run(argv[1], sluice::Precision::kF32, seconds);
  if (precision != "f32") failed |= run(argv[1], sluice::Precision::kBf16, seconds);
  return failed;
}
