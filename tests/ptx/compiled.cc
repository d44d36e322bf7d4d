// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/compiled.h"

#include <fstream>
#include <sstream>

#include "base/assert.h"

namespace sluice::ptx {

std::vector<std::string> compiled(const std::string& name) {
  std::vector<std::string> texts;
  for (const char* architecture : {"75", "80", "90"}) {
    std::ostringstream text;
    text << std::ifstream(std::string(SLUICE_PTX_FOLDER) + "/" + name + ".sm_" + architecture +
                          ".ptx")
                .rdbuf();
    ASSERT(!text.str().empty());
    texts.push_back(text.str());
  }
  return texts;
}

std::vector<Half> random_halves(Prng& prng, size_t count, double size) {
  std::vector<Half> values(count);
  for (Half& value : values) value = to_half((2 * prng.unit() - 1) * size);
  return values;
}

std::vector<float> random_floats(Prng& prng, size_t count, double size) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>((2 * prng.unit() - 1) * size);
  return values;
}

}  // namespace sluice::ptx
