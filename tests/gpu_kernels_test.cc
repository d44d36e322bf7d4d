// SPDX-License-Identifier: Apache-2.0
// The GPU's kernels, as nvcc compiles them, interpreted and compared with double precision by the
// same checks that run on a GPU; and nothing that the interpreter objects to.
#include <doctest/doctest.h>

#include "gpu/check/bench_device.h"
#include "tests/gpu_emulated.h"
#include "tests/gpu_ptx_images.h"

namespace sluice {
namespace {

// One generation each without and with asynchronous copies, and with clusters. The last is said to
// be newer than sm_90, whose wide products the interpreter does not know.
struct Generation {
  int ptx;
  int capability;
  int shared_max;
};
constexpr Generation kGenerations[] = {{75, 75, 65536}, {80, 80, 166912}, {90, 100, 232448}};

template <typename Check>
void run_on_all(Check&& check) {
  for (const Generation& generation : kGenerations) {
    CAPTURE(generation.capability);
    EmulatedCuda cuda({.capability = generation.capability, .shared_max = generation.shared_max});
    const std::vector<GpuImage> images = ptx_images(generation.ptx);
    check::Report report;
    {
      check::Bench bench(cuda, images);
      check(bench, report);
    }
    for (const std::string& finding : cuda.findings()) FAIL_CHECK(finding);
    CHECK(report.checks() > 0);
    CHECK(report.failures() == 0);
    CHECK(cuda.alive() == 0);
  }
}

TEST_CASE("gpu: embedding and layer norm are right") {
  run_on_all([](check::Bench& bench, check::Report& report) {
    check::check_rows(bench, report, check::Effort::kTiny);
  });
}

TEST_CASE("gpu: attention is right for texts of any length") {
  run_on_all([](check::Bench& bench, check::Report& report) {
    check::check_attention(bench, report, check::Effort::kTiny);
  });
}

TEST_CASE("gpu: pooling, the classifier's head and the flag are right") {
  run_on_all([](check::Bench& bench, check::Report& report) {
    check::check_outputs(bench, report, check::Effort::kTiny);
  });
}

TEST_CASE("gpu: products that normalise their rows first are right, and keep those rows") {
  run_on_all([](check::Bench& bench, check::Report& report) {
    if (bench.device->traits().shared_max < 80000) {
      report.check("their tiles are too large for sm_75", true);
      return;
    }
    check::check_normed(bench, report, check::Effort::kTiny);
  });
}

TEST_CASE("gpu: every tile of every product is right, and writes no row too many") {
  run_on_all([](check::Bench& bench, check::Report& report) {
    check::check_products(bench, report, check::Effort::kTiny);
  });
}

}  // namespace
}  // namespace sluice
