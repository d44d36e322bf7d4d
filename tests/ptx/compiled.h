// SPDX-License-Identifier: Apache-2.0
#pragma once
// Kernels that nvcc compiled when the tests were built.

#include <string>
#include <vector>

#include "base/prng.h"
#include "tests/ptx/numbers.h"

namespace sluice::ptx {

// The PTX of kernels/NAME.cu for each architecture, newest last.
std::vector<std::string> compiled(const std::string& name);

// Numbers in [-size, size], as halves and as floats.
std::vector<Half> random_halves(Prng& prng, size_t count, double size);
std::vector<float> random_floats(Prng& prng, size_t count, double size);

}  // namespace sluice::ptx
