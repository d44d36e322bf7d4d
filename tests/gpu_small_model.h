// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the tests of the GPU engine share: a small model of which a second implementation gives the
// right answers, and a machine to run it on.

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/model_folder.h"
#include "gpu/runner.h"
#include "tests/gpu_emulated.h"
#include "tests/reference_bert.h"

namespace sluice {

// The value, or a failed test with the error.
template <typename T>
T value_of(Result<T> result) {
  const std::string why = result.ok() ? "" : result.error().message;
  CAPTURE(why);
  REQUIRE(result.ok());
  return std::move(result).value();
}

// A model of two layers.
inline ReferenceBert::Options small_options(uint32_t labels, Pooling pooling,
                                            uint32_t hidden = 64) {
  ReferenceBert::Options options;
  options.config = {.layers = 2,
                    .hidden = hidden,
                    .heads = hidden / 32,
                    .intermediate = 2 * hidden,
                    .vocabulary = 90,
                    .positions = 96,
                    .types = 2,
                    .labels = labels};
  options.pooling = pooling;
  return options;
}

// A model in a folder, read back, as the GPU engine is told of it.
struct Model {
  TempFolder files;
  ReferenceBert reference;
  ModelFolder folder;
  GpuModel gpu;

  explicit Model(const ReferenceBert::Options& options) : reference(options) {
    reference.write(files);
    Result<ModelFolder> read = read_model_folder(files.path());
    REQUIRE(read.ok());
    folder = std::move(read).value();
    gpu = gpu_model_of(folder, folder.pooling == Pooling::kCls,
                       [](const TensorView& tensor) { return tensor_type_name(tensor.type); });
  }
};

// On a clock that goes on a millisecond whenever it is read.
inline GpuRunnerOptions runner_options(uint32_t tokens_max = 256) {
  GpuRunnerOptions options;
  options.tokens_max = tokens_max;
  options.texts_max = 64;
  options.now = [ticks = std::make_shared<std::atomic<int64_t>>()] {
    return Instant{*ticks += 1'000'000};
  };
  return options;
}

// An emulated machine with a GPU of that generation.
inline EmulatedMachine machine(int capability) {
  EmulatedMachine machine;
  // The interpreter does not know the wide products that only sm_90 has.
  machine.capability = capability == 90 ? 100 : capability;
  machine.shared_max = capability == 75 ? 65536 : capability == 80 ? 166912 : 232448;
  return machine;
}

inline double cosine(std::span<const float> got, const std::vector<double>& wanted) {
  double product = 0;
  double a = 0;
  double b = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    product += static_cast<double>(got[i]) * wanted[i];
    a += static_cast<double>(got[i]) * static_cast<double>(got[i]);
    b += wanted[i] * wanted[i];
  }
  return product / std::sqrt(a * b);
}

inline std::vector<std::span<const int32_t>> views(const std::vector<std::vector<int32_t>>& rows) {
  return {rows.begin(), rows.end()};
}

}  // namespace sluice
