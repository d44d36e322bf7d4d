// SPDX-License-Identifier: Apache-2.0
#include "backends/unicode_tables.h"

#include <algorithm>
#include <iterator>

namespace sluice {
namespace {

// A run of code points from `first` up to the next run; `index` is what the table says of it.
struct Range {
  uint32_t first;
  uint32_t index;
};

#include "backends/unicode_data.inc"

// The last range that begins at or before `c`. REQUIRES: there is one.
template <size_t size>
const Range& range_of(const Range (&ranges)[size], char32_t c) {
  const Range* after = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                        [](char32_t x, const Range& r) { return x < r.first; });
  return *std::prev(after);
}

}  // namespace

const CodePointClass& class_of(char32_t c) {
  if (c < 256 * std::size(kFirstStage)) {
    const size_t block = kSecondStage[16 * kFirstStage[c / 256] + c / 16 % 16];
    return kClasses[kThirdStage[16 * block + c % 16]];
  }
  return kClasses[range_of(kRanges, c).index];
}

size_t bare_form(char32_t c, char32_t (&out)[3]) {
  const Range& run = range_of(kBareRuns, c);
  const uint16_t target = kBareTargets[run.index + (c - run.first)];
  if (target < 0xD800 || target > 0xDFFF) {
    out[0] = target;
    return 1;
  }
  std::copy_n(kBareLong[target - 0xD800], 3, out);
  return out[1] == 0 ? 1 : out[2] == 0 ? 2 : 3;
}

}  // namespace sluice
