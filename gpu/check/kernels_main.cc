// SPDX-License-Identifier: Apache-2.0
// Checks every kernel on the GPU of this machine; with "time", also says what each takes. With
// "time=TEXT" it only times, and only products whose kernel's name has that text in it.
//   kernels [quick] [time | time=TEXT]

#include <cstdlib>
#include <cstring>

#include "gpu/check/bench_device.h"

int main(int argc, char** argv) {
  using namespace sluice::check;
  bool quick = false;
  bool time = false;
  const char* only = nullptr;
  for (int i = 1; i < argc; ++i) {
    quick = quick || std::strcmp(argv[i], "quick") == 0;
    time = time || std::strcmp(argv[i], "time") == 0;
    if (std::strncmp(argv[i], "time=", 5) == 0) only = argv[i] + 5;
  }
  const std::unique_ptr<sluice::CudaApi> driver = must(sluice::open_cuda_driver());
  Bench bench(*driver, sluice::built_in_images());
  const Effort effort = quick ? Effort::kQuick : Effort::kFull;
  if (only != nullptr) {
    time_products(bench, only);
    return EXIT_SUCCESS;
  }
  Report report;
  check_rows(bench, report, effort);
  check_attention(bench, report, effort);
  check_outputs(bench, report, effort);
  check_normed(bench, report, effort);
  check_products(bench, report, effort);
  std::printf("kernels: %d checks, %d failed\n", report.checks(), report.failures());
  if (time) time_kernels(bench);
  return report.failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
