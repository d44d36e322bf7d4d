// SPDX-License-Identifier: Apache-2.0
// The core under a fuzzer: bytes become a configuration, events and the passing of time, and after
// every step the plain model must have nothing to complain about. The last bytes are used up before
// the end is driven home with zeros, which end everything well.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/core_driver.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::CoreDriver;
  size_t at = 0;
  // Two bytes where the range needs them, so that few bytes make long lives.
  const auto choose = [&](int64_t low, int64_t high) -> int64_t {
    const auto span = static_cast<uint64_t>(high - low) + 1;
    uint64_t value = 0;
    for (uint64_t reach = 1; reach < span && at < size; reach *= 256) {
      value = value * 256 + data[at++];
    }
    return low + static_cast<int64_t>(value % span);
  };
  CoreDriver driver(choose);
  bool good = true;
  for (int steps = 0; good && at < size && steps < 2000; ++steps) good = driver.step();
  if (!good || !driver.finish()) {
    for (const std::string& complaint : driver.complaints()) {
      std::fprintf(stderr, "%s\n", complaint.c_str());
    }
    std::abort();
  }
  return 0;
}
